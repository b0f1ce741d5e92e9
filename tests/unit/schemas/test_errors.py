"""The failures that cross the broker."""

from __future__ import annotations

import pickle

import pytest

from schemas.errors import (
    DecodeError,
    ErrorCode,
    FieldProblem,
    FsheraldError,
    NotFoundError,
    OmeroFSError,
    RequestError,
    error_class,
)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_one_class_whose_docstring_is_its_message(code: ErrorCode) -> None:
    """The class docstring is the default message."""
    cls = error_class(code)
    error = cls()

    assert cls.code is code
    assert cls is not OmeroFSError
    assert error.message == error.reason == str(error) == cls.__doc__
    assert error.server_exception_class == cls.__name__


def test_a_code_that_is_not_known_is_the_contracts_error_itself() -> None:
    """A newer server may have more codes."""
    assert error_class("too-cold") is OmeroFSError


def test_the_reason_is_what_the_exception_says() -> None:
    """A log line or a command line shows the sentence that names the thing."""
    assert str(NotFoundError("'/data/x' does not exist")) == "'/data/x' does not exist"


def test_all_errors_have_one_root() -> None:
    """A caller can catch everything of ours with one clause."""
    assert issubclass(OmeroFSError, FsheraldError)
    assert issubclass(RequestError, FsheraldError)
    assert issubclass(DecodeError, FsheraldError)
    assert issubclass(DecodeError, ValueError)


def test_a_request_error_says_all_its_problems() -> None:
    """Its text is fit for a command line."""
    error = RequestError.invalid_params("invalid parameters for x", [FieldProblem("id", "is required")])

    assert str(error) == "invalid parameters for x: id is required"
    assert str(RequestError.parse_error("no")) == "no"


@pytest.mark.parametrize(
    "error",
    [NotFoundError("gone"), RequestError.invalid_params("wrong", [FieldProblem("id", "is required")])],
)
def test_errors_can_be_pickled(error: FsheraldError) -> None:
    """They may cross a process pool."""
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
