"""`sizewise keys create | list | revoke`: Sizewise's own keys, kept in the ledger as keyed hashes.

`create` writes the key alone to stdout and all else to stderr, so that a script can catch it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collector.cli.data import database
from collector.cli.options import AsJson, ConfigFile, echo_json

if TYPE_CHECKING:
    import psycopg

    from collector.config import Config
    from collector.store.keys import StoredKey

app = typer.Typer(
    help="Make, list and revoke Sizewise's own keys: whose calls are whose.", no_args_is_help=True
)
LONGEST_NAME = 120


def _check_name(text: str) -> str:
    if len(text) > LONGEST_NAME or any(not character.isprintable() for character in text):
        raise typer.BadParameter(f"a name has at most {LONGEST_NAME} printable characters")
    return text.strip()


def _check_team(text: str) -> str:
    if not _check_name(text):
        raise typer.BadParameter("a key is for a team: name it")
    return _check_name(text)


@app.command()
def create(
    team: Annotated[str, typer.Option(help="Whose calls these will be.", callback=_check_team)],
    project: Annotated[str, typer.Option(help="Bound too, if given.", callback=_check_name)] = "",
    environment: Annotated[str, typer.Option(help="Bound too, if given.", callback=_check_name)] = "",
    name: Annotated[
        str, typer.Option(help="To know it by; keys of one name share a cap.", callback=_check_name)
    ] = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Make a key and print it, this once: only a hash of it is kept. It works about a second later."""
    from collector.store.keys import add_key, make_key

    key = make_key()
    with _ledger(config) as (settings, secret, connection):
        _check_secret(connection, settings.tenant, secret)
        stored = add_key(
            connection,
            key,
            hash_secret=secret,
            tenant=settings.tenant,
            team=team,
            project=project,
            environment=environment,
            name=name,
        )
    if json:
        echo_json({"key": key, **_shown(stored, secret)})
        return
    typer.echo(f"{stored.key_id} for {_binding(stored)}. The key is shown this once:", err=True)
    typer.echo(key)
    typer.echo("Send it as `Authorization: Bearer`, x-api-key or x-sizewise-key.", err=True)


@app.command(name="list")
def list_(config: ConfigFile = None, json: AsJson = False) -> None:
    """Every key that was made; of each only its last four characters are known."""
    from collector.store.keys import list_keys

    with _ledger(config) as (settings, secret, connection):
        found = list_keys(connection, settings.tenant)
    rows = [_shown(key, secret) for key in found]
    if json:
        echo_json({"keys": rows})
        return
    if not rows:
        typer.echo("No key was made yet: `sizewise keys create --team NAME`.")
    for key, row in zip(found, rows, strict=True):
        named = f" {key.name!r}" if key.name else ""
        typer.echo(f"{key.key_id}  ...{key.last4}  {row['state']:<10}  {_binding(key)}{named}")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys list` shows it.")],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Refuse a key from now on (relays hear of it within about two seconds). It can't be taken back."""
    from collector.errors import SizewiseError
    from collector.store.keys import revoke_key

    with _ledger(config) as (settings, secret, connection):
        stored = revoke_key(connection, settings.tenant, key_id)
    if stored is None:
        raise SizewiseError(f"There is no key {key_id!r}: `sizewise keys list` shows those there are.")
    if json:
        echo_json(_shown(stored, secret))
    else:
        typer.echo(f"{stored.key_id} (...{stored.last4}, {_binding(stored)}) is revoked.")


def _check_secret(connection: "psycopg.Connection[Any]", tenant: str, secret: str) -> None:
    """A key that is hashed with another secret than the fleet's would be known to none of its relays."""
    from collector.errors import SizewiseError
    from collector.store.keys import list_keys, mark_of_secret

    marks = {key.secret_mark for key in list_keys(connection, tenant) if key.revoked_at is None}
    if marks and mark_of_secret(secret) not in marks:
        raise SizewiseError(
            "The keys in this ledger were hashed with another secret than the one here: set hash_secret "
            "(SIZEWISE_HASH_SECRET_FILE) to the fleet's, or revoke those keys first."
        )


def _binding(key: "StoredKey") -> str:
    parts = (("team", key.team), ("project", key.project), ("environment", key.environment))
    return ", ".join(f"{what} {value}" for what, value in parts if value)


def _shown(key: "StoredKey", secret: str) -> dict[str, Any]:
    import msgspec

    from collector.store.keys import mark_of_secret

    shown = msgspec.structs.asdict(key)
    foreign = shown.pop("secret_mark") != mark_of_secret(secret)
    # Hashed with another secret than this host's: relays here don't know it.
    return {**shown, "state": "revoked" if key.revoked_at else "foreign" if foreign else "good"}


@contextmanager
def _ledger(config: Path | None) -> "Iterator[tuple[Config, str, psycopg.Connection[Any]]]":
    """The configuration, the fleet's hash secret, and a connection to a ledger that has a place for keys."""
    import psycopg

    from collector.config import load_config, make_plan, with_hash_secret
    from collector.errors import StoreError

    settings = load_config(config).config
    with database(settings, make=False) as url:
        try:
            with psycopg.connect(url, connect_timeout=10) as connection:
                secret = make_plan(with_hash_secret(settings)).hash_secret
                yield settings, secret, connection
        except psycopg.errors.UndefinedTable:
            raise StoreError(
                "The database has no place for keys yet: run `sizewise migrate` or `sizewise up`."
            ) from None
        except psycopg.OperationalError as problem:
            raise StoreError(f"The database can't be reached: {' '.join(str(problem).split())}") from None
