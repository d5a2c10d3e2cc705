"""`sizewise migrate`: a changed reporting zone is refused with the way out, and the way out works."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg


def migrate(url: str, folder: Path, zone: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "SIZEWISE_DATABASE__URL": url,
        "SIZEWISE_STATE_DIR": str(folder),
        "SIZEWISE_REPORTING__TIMEZONE": zone,
    }
    command = [sys.executable, "-c", "from collector.cli import main; main()", "migrate", *words]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_another_zone_needs_a_rebuild_and_gets_one(empty_database_url: str, tmp_path: Path) -> None:
    assert migrate(empty_database_url, tmp_path, "UTC").returncode == 0
    refused = migrate(empty_database_url, tmp_path, "Asia/Kathmandu")
    assert refused.returncode == 1
    assert "sizewise migrate --rebuild" in refused.stderr

    rebuilt = migrate(empty_database_url, tmp_path, "Asia/Kathmandu", "--rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("SELECT value FROM settings WHERE name = 'reporting_zone'").fetchone()
    assert row == ("Asia/Kathmandu",)
    assert migrate(empty_database_url, tmp_path, "Asia/Kathmandu").returncode == 0
