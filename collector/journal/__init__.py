"""The journal: from the moment a call is written here, no kill of any process can lose it.

record.py turns a Call into a frame and back; segment.py walks a file of frames; folder.py says who may write
and where writing goes on; writer.py appends (the relay); reader.py follows (record); audit.py looks (cli).
"""

from collector.journal.audit import JournalStatus, JournalVerdict, status, verify
from collector.journal.reader import BadFrameRecord, Batch, JournalReader
from collector.journal.record import BadFrame, decode, encode_call
from collector.journal.segment import Position, list_journals
from collector.journal.writer import Journal

__all__ = [
    "BadFrame",
    "BadFrameRecord",
    "Batch",
    "Journal",
    "JournalReader",
    "JournalStatus",
    "JournalVerdict",
    "Position",
    "decode",
    "encode_call",
    "list_journals",
    "status",
    "verify",
]
