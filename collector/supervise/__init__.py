"""Owns the listening sockets and the processes of one machine: starts, replaces, reloads, stops them."""

from collector.supervise.screen import render_screen
from collector.supervise.status import Status, find_run_folder, read_status
from collector.supervise.supervisor import KINDS, Supervisor

__all__ = ["KINDS", "Status", "Supervisor", "find_run_folder", "read_status", "render_screen"]
