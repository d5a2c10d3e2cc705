from importlib.resources import files

import pytest

from collector.store.sql import query

NAMES = sorted(file.name.removesuffix(".sql") for file in (files("collector.store") / "queries").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_a_query(name):
    assert query(name)
    assert not query(name).endswith(";"), "one statement a file, without its semicolon"


def test_a_wrong_name_is_told():
    with pytest.raises(FileNotFoundError, match=r"no_such_query\.sql"):
        query("no_such_query")
