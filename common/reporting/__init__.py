"""From record files to verdicts, tables, figures and the project's summary. Knows no paper, trains nothing."""
