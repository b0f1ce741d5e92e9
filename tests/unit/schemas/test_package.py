"""What `import schemas` offers."""

from __future__ import annotations

import pkgutil

import schemas


def test_everything_that_the_package_offers_is_there_and_sorted() -> None:
    """Constants, classes, functions, each in alphabetical order."""
    names = schemas.__all__

    assert all(hasattr(schemas, name) for name in names)
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_every_module_has_one_sentence_on_top() -> None:
    """What it is and where it stands."""
    for module in pkgutil.iter_modules(schemas.__path__):
        assert __import__(f"schemas.{module.name}", fromlist=["_"]).__doc__
