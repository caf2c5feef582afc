"""What is decided where the data are known, and how often they are read for it."""

import pytest

import flows.study.designs
from data.config import DataConfig
from flows.study.config import StudyConfig
from flows.study.designs import load_source, resolve_study, study_designs, study_source


def test_data_are_read_once_though_the_regimes_are_decided_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[DataConfig] = []

    def counted(config: DataConfig) -> object:
        reads.append(config)
        return load_source(config)

    monkeypatch.setattr(flows.study.designs, "load_source", counted)
    flows.study.designs._source.cache_clear()
    config = StudyConfig(data=DataConfig(dataset="digits", images_per_class="auto"))
    source = study_source(config.data)
    resolved = resolve_study(config, source)
    assert resolved.data.images_per_class != "auto"
    study_designs(resolved)
    assert study_source(resolved.data) is source
    assert len(reads) == 1
