"""Policies: functions over frozen snapshots. Whoever has another idea passes a function."""
