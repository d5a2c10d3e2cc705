from pathlib import Path

import pytest

from collector.assets import find_assets
from collector.errors import SizewiseError


def package_in(folder: Path) -> Path:
    (folder / "collector/_assets/alerts").mkdir(parents=True)
    return folder / "collector"


def test_a_checkout_comes_first(tmp_path: Path) -> None:
    package = package_in(tmp_path)
    (tmp_path / "alerts").mkdir()
    (tmp_path / "pyproject.toml").touch()
    assert find_assets("alerts", package) == tmp_path / "alerts"


def test_a_wheel_has_them_inside(tmp_path: Path) -> None:
    """A folder that happens to be called alerts in site-packages is another package's."""
    package = package_in(tmp_path)
    (tmp_path / "alerts").mkdir()
    assert find_assets("alerts", package) == package / "_assets/alerts"


def test_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(SizewiseError, match=r"migrations is neither at .* nor at"):
        find_assets("migrations", package_in(tmp_path))


def test_this_checkout_has_all_of_them() -> None:
    for name in ("migrations", "dashboards", "alerts"):
        assert find_assets(name).is_dir()  # type: ignore[arg-type]
