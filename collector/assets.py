"""Where the files that come along (migrations, dashboards, alerts) lie on this machine.

A checkout has them beside the package, an installed wheel inside it. The checkout is looked at first: an
editable install leaves copies in the package which go stale.
"""

from pathlib import Path
from typing import Literal

from collector.errors import SizewiseError

Name = Literal["migrations", "dashboards", "alerts"]
PACKAGE = Path(__file__).resolve().parent


def find_assets(name: Name, package: Path = PACKAGE) -> Path:
    """The folder of that name. A real path, which Alembic needs."""
    checkout, installed = package.parent / name, package / "_assets" / name
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    if installed.is_dir():
        return installed
    raise SizewiseError(
        f"The folder {name} is neither at {checkout} nor at {installed}: install Sizewise again."
    )
