"""What a study is without Prefect: its configuration, run directory, stages and cells."""
