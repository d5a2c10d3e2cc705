"""The configuration: one YAML file, `SIZEWISE_*` variables over it, checked once and as a whole.

In: a file's path and the environment. Out: a `Config` that is right in every key, or one ConfigError that
lists every problem. Child processes don't check again: they read what the supervisor wrote
(`read_effective`); relay workers get only the plan (`make_plan`).
"""

from collector.config.effective import (
    cap_rules,
    make_plan,
    policy_path,
    read_effective,
    with_hash_secret,
    write_effective,
    write_private,
)
from collector.config.load import Loaded, find_state_dir, load_config
from collector.config.model import Config, Hosting, Route, Upstream
from collector.config.show import list_settings, render_settings
from collector.config.sources import Origin

__all__ = [
    "Config",
    "Hosting",
    "Loaded",
    "Origin",
    "Route",
    "Upstream",
    "cap_rules",
    "find_state_dir",
    "list_settings",
    "load_config",
    "make_plan",
    "policy_path",
    "read_effective",
    "render_settings",
    "with_hash_secret",
    "write_effective",
    "write_private",
]
