"""Parameters of requests: what is accepted, and what is said about the rest."""

from __future__ import annotations

import pytest

from schemas.errors import FieldProblem, RequestError
from schemas.methods import METHODS, CreateMonitorParams, DirectoryParams, ReadBlockParams, find_method

MINIMAL = {"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "pathString": "/data"}
BLOCK = {"fileId": "/data/a", "offset": 0, "size": 10}


def problems(method: str, params: dict[str, object] | list[object]) -> list[tuple[str, str]]:
    with pytest.raises(RequestError) as caught:
        METHODS[method].parse_params(params)
    error = caught.value
    assert (error.rpc_code, error.name) == (-32602, "invalid-params")
    assert error.errors
    return [(each.field, each.problem) for each in error.errors]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"mType": "persistent"}, ("mType", "must be one of Persistent, OneShot, Inactivity (or 0 to 2)")),
        ({"mType": True}, ("mType", "must be one of Persistent, OneShot, Inactivity (or 0 to 2)")),
        ({"mType": 3}, ("mType", "must be one of Persistent, OneShot, Inactivity (or 0 to 2)")),
        ({"mType": -1}, ("mType", "must be one of Persistent, OneShot, Inactivity (or 0 to 2)")),
        ({"mType": None}, ("mType", "must be one of Persistent, OneShot, Inactivity (or 0 to 2)")),
        ({"mType": {}}, ("mType", "must be one of Persistent, OneShot, Inactivity (or 0 to 2)")),
        ({"eTypes": []}, ("eTypes", "must not be empty")),
        ({"eTypes": "All"}, ("eTypes", "must be an array")),
        ({"eTypes": {"All": 1}}, ("eTypes", "must be an array")),
        (
            {"eTypes": ["All", "Burn"]},
            ("eTypes[1]", "must be one of Creation, Modification, Deletion, All (or 0 to 3)"),
        ),
        ({"pMode": ""}, ("pMode", "must be one of Flat, Recurse, Follow (or 0 to 2)")),
        ({"pathString": 7}, ("pathString", "must be a string")),
        ({"pathString": "/data\0/x"}, ("pathString", "must not contain a NUL character")),
        (
            {"pathString": "/\ud800"},
            ("pathString", "must not contain lone surrogates other than \\udc80 to \\udcff"),
        ),
        ({"whitelist": ["a", 1]}, ("whitelist[1]", "must be a string")),
        ({"whitelist": "*.tif"}, ("whitelist", "must be an array")),
        ({"blacklist": ["\0"]}, ("blacklist[0]", "must not contain a NUL character")),
        ({"blacklist": None}, ("blacklist", "must be an array")),
        ({"timeout": -1}, ("timeout", "must be at least 0")),
        ({"timeout": "5"}, ("timeout", "must be a number")),
        ({"timeout": True}, ("timeout", "must be a number")),
        ({"timeout": float("inf")}, ("timeout", "must be a finite number")),
        ({"timeout": 10**400}, ("timeout", "must be a number")),
        ({"mType": "Inactivity"}, ("timeout", "must be greater than 0 for an Inactivity monitor")),
        ({"mType": 2, "timeout": 0}, ("timeout", "must be greater than 0 for an Inactivity monitor")),
        ({"blockSize": -1}, ("blockSize", "must be at least 0")),
        ({"blockSize": 2**31}, ("blockSize", "must be at most 2147483647")),
        ({"blockSize": 1.5}, ("blockSize", "must be an integer")),
        ({"blockSize": True}, ("blockSize", "must be an integer")),
        ({"blockSize": "10"}, ("blockSize", "must be an integer")),
        ({"ignoreSysFiles": 1}, ("ignoreSysFiles", "must be true or false")),
        ({"ignoreDirEvents": "yes"}, ("ignoreDirEvents", "must be true or false")),
        ({"platformCheck": None}, ("platformCheck", "must be true or false")),
        ({"queue": ""}, ("queue", "must be 1 to 255 bytes without NUL")),
        ({"queue": "é" * 128}, ("queue", "must be 1 to 255 bytes without NUL")),
        ({"queue": "amq.gen-1"}, ("queue", "must not begin with 'amq.', which the broker keeps for itself")),
        ({"queue": "\udcff"}, ("queue", "must be UTF-8")),
        ({"queue": 1}, ("queue", "must be a string")),
        ({"proxy": None}, ("proxy", "is not a parameter of createMonitor")),
        ({"m_type": "OneShot"}, ("m_type", "is not a parameter of createMonitor")),
        ({"\udcff": 1}, ("\udcff", "is not a parameter of createMonitor")),
    ],
)
def test_each_wrong_parameter_of_create_monitor_is_named_with_its_problem(
    change: dict[str, object], problem: tuple[str, str]
) -> None:
    """By its wire name, in words that need no knowledge of Python."""
    assert problems("createMonitor", {**MINIMAL, **change}) == [problem]


def test_all_problems_are_told_at_once() -> None:
    """Nobody has to find out one by one."""
    assert problems("createMonitor", {"eTypes": ["Burn"], "timeout": -1, "colour": "red"}) == [
        ("mType", "is required"),
        ("eTypes[0]", "must be one of Creation, Modification, Deletion, All (or 0 to 3)"),
        ("pMode", "is required"),
        ("pathString", "is required"),
        ("timeout", "must be at least 0"),
        ("colour", "is not a parameter of createMonitor"),
    ]


@pytest.mark.parametrize(
    ("method", "params", "problem"),
    [
        ("startMonitor", {}, ("id", "is required")),
        ("startMonitor", {"id": 1}, ("id", "must be a string")),
        ("listMonitors", {"id": "x"}, ("id", "is not a parameter of listMonitors")),
        ("fileExists", {"fileId": "a\0"}, ("fileId", "must not contain a NUL character")),
        ("getDirectory", {"absPath": "/", "limit": 0}, ("limit", "must be at least 1")),
        ("getDirectory", {"absPath": "/", "filter": None}, ("filter", "must be a string")),
        ("getBulkDirectory", {"absPath": "/", "after": "\0"}, ("after", "must not contain a NUL character")),
        ("readBlock", {**BLOCK, "offset": -1}, ("offset", "must be at least 0")),
        ("readBlock", {**BLOCK, "offset": 2**63}, ("offset", "must be at most 9223372036854775807")),
        ("readBlock", {**BLOCK, "size": -1}, ("size", "must be at least 0")),
        ("readBlock", {"fileId": "/a", "size": 1}, ("offset", "is required")),
        ("getSHA1", {"fileId": "/a", "version": 7}, ("version", "must be a string")),
        ("getSize", {"fileId": "/a", "version": "v"}, ("version", "is not a parameter of getSize")),
        ("rpc.discover", {"x": 1}, ("x", "is not a parameter of rpc.discover")),
    ],
)
def test_wrong_parameters_of_other_methods_are_named_with_their_problem(
    method: str, params: dict[str, object], problem: tuple[str, str]
) -> None:
    """The same words everywhere."""
    assert problems(method, params) == [problem]


@pytest.mark.parametrize("params", [[], ["Persistent", ["All"], "Follow", "/data"]])
def test_parameters_by_position_are_refused(params: list[object]) -> None:
    """Parameters travel by name."""
    assert problems("createMonitor", params) == [("params", "must be an object, not an array")]


def test_an_error_stays_small_whatever_was_sent() -> None:
    """A request of a million mistakes does not make a reply of as many."""
    unknown = problems("listMonitors", {"x" * 10_000 + str(number): 1 for number in range(1000)})

    assert len(unknown) == 100
    assert all(len(field) == 100 for field, _ in unknown)


@pytest.mark.parametrize("field", ["eTypes", "whitelist", "blacklist"])
def test_of_a_list_the_first_wrong_member_is_told(field: str) -> None:
    """One problem for each of a million members would take gigabytes."""
    [(place, _)] = problems("createMonitor", {**MINIMAL, field: [0.5] * 10_000})

    assert place == f"{field}[0]"


@pytest.mark.parametrize("field", ["whitelist", "blacklist"])
def test_a_filter_has_a_bounded_number_of_entries(field: str) -> None:
    """Each is compared with each event."""
    METHODS["createMonitor"].parse_params({**MINIMAL, field: ["a"] * 10_000})

    assert problems("createMonitor", {**MINIMAL, field: ["a"] * 10_001}) == [
        (field, "must have at most 10000 members")
    ]


def test_deeply_nested_parameters_are_refused_like_any_others() -> None:
    """As deep as the parser lets through."""
    nested: object = []
    for _ in range(900):
        nested = [nested]

    assert problems("createMonitor", {**MINIMAL, "eTypes": nested, "pathString": nested, "deep": nested}) == [
        ("eTypes[0]", "must be one of Creation, Modification, Deletion, All (or 0 to 3)"),
        ("pathString", "must be a string"),
        ("deep", "is not a parameter of createMonitor"),
    ]


def test_integers_may_be_written_as_json_numbers_with_a_fraction_of_zero() -> None:
    """JSON does not tell 5 from 5.0."""
    params = METHODS["readBlock"].parse_params({**BLOCK, "offset": 5.0, "size": 2**40})

    assert isinstance(params, ReadBlockParams)
    assert (params.offset, params.size) == (5, 2**40)


def test_paths_may_hold_bytes_that_are_not_utf_8() -> None:
    """In both directions."""
    params = METHODS["getDirectory"].parse_params(
        {"absPath": "/\udcff", "filter": "\udce9*", "after": "\udc80"}
    )

    assert isinstance(params, DirectoryParams)
    assert (params.abs_path, params.filter, params.after, params.limit) == (
        "/\udcff",
        "\udce9*",
        "\udc80",
        None,
    )


@pytest.mark.parametrize("method", ["getDirectory", "getBulkDirectory"])
def test_an_optional_parameter_may_be_null(method: str) -> None:
    """As good as absent."""
    params = METHODS[method].parse_params({"absPath": "/", "limit": None, "after": None})

    assert params == METHODS[method].parse_params({"absPath": "/"})


def test_the_queue_of_create_monitor_is_apart_from_the_specification() -> None:
    """A monitor is what it watches; who listens is another matter."""
    params = METHODS["createMonitor"].parse_params({**MINIMAL, "queue": "ingest"})

    assert isinstance(params, CreateMonitorParams)
    assert params.queue == "ingest"
    assert "queue" not in params.spec().model_dump(by_alias=True)


def test_a_method_is_found_on_its_own_queue_only() -> None:
    """rpc.discover on both."""
    assert find_method("startMonitor", "control").name == "startMonitor"
    assert find_method("rpc.discover", "files") is find_method("rpc.discover", "control")
    with pytest.raises(RequestError, match="is a method of the control queue"):
        find_method("startMonitor", "files")


@pytest.mark.parametrize("name", ["", "startmonitor", "__class__", "x" * 10_000, "\udcff"])
def test_an_unknown_method_is_method_not_found(name: str) -> None:
    """And the answer stays small."""
    with pytest.raises(RequestError) as caught:
        find_method(name, "control")

    assert (caught.value.rpc_code, caught.value.name) == (-32601, "method-not-found")
    assert len(caught.value.message) < 200


def test_problems_are_plain_data() -> None:
    """Field and problem, nothing else."""
    assert FieldProblem("id", "is required") == FieldProblem(field="id", problem="is required")
