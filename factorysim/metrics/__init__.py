"""From the tables of a run to values, intervals and verdicts. Pure; never imports `sim`."""
