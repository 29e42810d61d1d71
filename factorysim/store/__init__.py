"""The only writer of data: Parquet tables, run directories, content hashes.

Everything is written under a temporary name beside its final one and renamed at
the end, so that nothing half-written is ever found under a final name.
"""

from __future__ import annotations

from factorysim.store.folder import RUN_SCHEMA as RUN_SCHEMA
from factorysim.store.folder import check_place as check_place
from factorysim.store.folder import made_folder as made_folder
from factorysim.store.folder import make_folder as make_folder
from factorysim.store.folder import publish as publish
from factorysim.store.folder import staging as staging
from factorysim.store.folder import write_bytes as write_bytes
from factorysim.store.folder import write_json as write_json
from factorysim.store.folder import write_text as write_text
from factorysim.store.hashing import content_hash as content_hash
from factorysim.store.hashing import file_hash as file_hash
from factorysim.store.hashing import table_hash as table_hash
from factorysim.store.hashing import table_parts as table_parts
from factorysim.store.memory import MemorySink as MemorySink
from factorysim.store.schema import table_schema as table_schema
from factorysim.store.sink import Derived as Derived
from factorysim.store.sink import ParquetSink as ParquetSink
from factorysim.store.tables import Columns as Columns
from factorysim.store.tables import Labels as Labels
from factorysim.store.tables import as_columns as as_columns
from factorysim.store.tables import count_rows as count_rows
from factorysim.store.tables import join_columns as join_columns
from factorysim.store.tables import merge_tables as merge_tables
from factorysim.store.tables import read_columns as read_columns
from factorysim.store.tables import read_groups as read_groups
from factorysim.store.tables import read_replication as read_replication
from factorysim.store.tables import write_table as write_table
