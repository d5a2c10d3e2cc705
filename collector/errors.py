"""What Sizewise raises on purpose. Each text says what is wrong, where, and what is allowed or to be done."""


class SizewiseError(Exception):
    """Something a person can mend; the command line prints it without a traceback and exits with 1."""


class ConfigError(SizewiseError):
    """The configuration is refused: names the key, the value, what is allowed, and where it stands."""


class JournalError(SizewiseError):
    """A journal can't be opened or written as asked (locked by another process, not a folder, ...)."""


class StoreError(SizewiseError):
    """The database can't be used as asked (too old, another major version, wrong schema, ...)."""
