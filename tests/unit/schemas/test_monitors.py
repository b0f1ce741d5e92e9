"""What a monitor is asked to do, and what it tells about itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events import EventType
from schemas.methods import METHODS, CreateMonitorParams
from schemas.monitors import MonitorInfo, MonitorSpec, MonitorType, PathMode, WatchEventType
from schemas.rpc import dumps, loads
from tests.contract import golden

MINIMAL = {"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "pathString": "/data"}
CHANGES = {EventType.CREATE, EventType.MODIFY, EventType.DELETE}


def spec(**changes: object) -> MonitorSpec:
    params = METHODS["createMonitor"].parse_params({**MINIMAL, **changes})
    assert isinstance(params, CreateMonitorParams)
    return params.spec()


def test_all_but_the_first_four_parameters_have_defaults() -> None:
    """The defaults of the protocol page."""
    assert spec() == MonitorSpec(
        m_type=MonitorType.PERSISTENT,
        e_types=(WatchEventType.ALL,),
        p_mode=PathMode.FOLLOW,
        path_string="/data",
        whitelist=(),
        blacklist=(),
        timeout=0.0,
        block_size=0,
        ignore_sys_files=True,
        ignore_dir_events=False,
        platform_check=False,
    )


@pytest.mark.parametrize(
    ("e_types", "watched"),
    [
        (["All"], CHANGES),
        (["Creation"], {EventType.CREATE}),
        (["Modification", "Deletion"], {EventType.MODIFY, EventType.DELETE}),
        (["Creation", "All"], CHANGES),
        ([2, 2], {EventType.DELETE}),
    ],
)
def test_all_stands_for_every_other_member(e_types: list[object], watched: set[EventType]) -> None:
    """The original never expanded it."""
    assert spec(eTypes=e_types).watched == watched


def test_enumerators_may_be_given_by_number() -> None:
    """Numbers are accepted in requests."""
    by_number = spec(mType=1, eTypes=[0, 1, 2, 3], pMode=0)

    assert by_number.m_type is MonitorType.ONE_SHOT
    assert by_number.e_types == tuple(WatchEventType)
    assert by_number.p_mode is PathMode.FLAT


def test_a_one_shot_monitor_may_wait_for_ever() -> None:
    """timeout 0 waits for ever; only Inactivity needs one."""
    assert spec(mType="OneShot").timeout == 0
    assert spec(mType="Inactivity", timeout=0.5).timeout == 0.5


def test_a_specification_survives_being_stored() -> None:
    """Written by wire names, read again after a restart, with a path that is not UTF-8."""
    before = spec(pathString="/data/\udcff", whitelist=["*.tif", "\udce9"], timeout=2, blockSize=100.0)

    assert MonitorSpec.model_validate(loads(dumps(before))) == before


def test_a_specification_watches_for_something() -> None:
    """eTypes must not be empty, wherever the specification comes from."""
    with pytest.raises(ValidationError, match="must not be empty"):
        MonitorSpec(m_type=MonitorType.PERSISTENT, e_types=(), p_mode=PathMode.FLAT, path_string="/data")


def test_a_specification_is_frozen() -> None:
    """A monitor never changes what it does."""
    with pytest.raises(ValidationError):
        spec().timeout = 3.0  # type: ignore[misc]  # frozen, which is the point


def test_monitor_info_read_by_a_client_ignores_members_that_it_does_not_know() -> None:
    """A newer server may say more, at every level."""
    reply: Any = golden.value("describeMonitor.reply")
    result = reply["result"]
    newer = {**result, "colour": 1, "spec": {**result["spec"], "depth": 3}}

    assert MonitorInfo.model_validate(newer) == MonitorInfo.model_validate(result)
