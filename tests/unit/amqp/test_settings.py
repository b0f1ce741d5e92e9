"""What an AMQP URL means, and that no password leaks from it."""

from __future__ import annotations

import pytest

from publisher.amqp import AmqpSettings, parameters
from publisher.amqp_settings import parse_url


def test_what_a_url_leaves_out_is_rabbitmqs_default():
    """guest at localhost, virtual host /."""
    address = parse_url("amqp://")
    assert (address.host, address.port, address.virtual_host) == ("localhost", 5672, "/")
    assert (address.username, address.password) == ("guest", "guest")
    assert address.tls is None


def test_user_password_and_virtual_host_are_decoded():
    """RabbitMQ's URI specification: percent-encoding in each of them."""
    address = parse_url("amqp://us%40er:p%2Fa%3As%23s@[::1]:5673/a%2Fb%20c")
    assert (address.username, address.password) == ("us@er", "p/a:s#s")
    assert (address.host, address.port, address.virtual_host) == ("::1", 5673, "a/b c")


@pytest.mark.parametrize("url", ["amqp://h", "amqp://h/", "amqp://h//", "amqp://h/%2F", "amqp://h/%2f"])
def test_the_default_virtual_host_has_many_spellings(url: str):
    """All of them are in use."""
    assert parse_url(url).virtual_host == "/"


def test_a_password_given_apart_replaces_the_one_in_the_url():
    """It comes from a file, as it is, and is not decoded."""
    assert parse_url("amqp://u:in-url@h/", "from%20file").password == "from%20file"


def test_amqps_verifies_the_broker_on_the_tls_port():
    """TLS without verification is none."""
    address = parse_url("amqps://h/")
    assert address.port == 5671
    assert address.tls is not None
    assert address.tls.check_hostname
    pika_parameters = parameters(AmqpSettings(url="amqps://h/?server_name_indication=broker.example"))
    assert pika_parameters.ssl_options is not None
    assert pika_parameters.ssl_options.server_hostname == "broker.example"


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://secret@h/", "amqp://"),
        ("h:5672", "amqp://"),
        ("", "amqp://"),
        ("amqp://u:secret/x@h/", "escaped"),
        ("amqp://u:sec#ret@h/", "escaped"),
        ("amqp://u:1/secret@h/", "%2F"),
        ("amqp://h:99999/", "escaped"),
        ("amqp://[::1/", "escaped"),
        ("amqp://h/a/b", "%2F"),
        ("amqp://h/?cacertfile=/secret", "cacertfile"),
        ("amqps://h/?verify=verify_none", "verify"),
        ("amqps://h/?cacertfile=/nowhere/secret-ca.pem", "certificate"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_secrets(url: str, hint: str):
    """Configuration errors are printed and logged."""
    with pytest.raises(ValueError, match="AMQP URL") as failed:
        parse_url(url)
    assert hint in str(failed.value)
    assert "\n" not in str(failed.value)
    assert "secret@" not in str(failed.value)
    assert "secret/" not in str(failed.value)
    assert failed.value.__cause__ is None or isinstance(failed.value.__cause__, OSError)


def test_no_representation_shows_a_password():
    """Settings and addresses end up in logs and tracebacks."""
    settings = AmqpSettings(url="amqp://u:hush@h/", password="hush-too")
    address = parse_url(settings.url, settings.password)
    for text in (repr(settings), str(settings), repr(address), str(address), repr(parameters(settings))):
        assert "hush" not in text
    assert str(address) == "amqp://u@h:5672/"


def test_the_connection_is_named_and_kept_alive():
    """What the management pages show; a dead broker is noticed by heartbeats."""
    pika_parameters = parameters(AmqpSettings(url="amqp://h/", connection_name="fsherald relay"))
    assert pika_parameters.client_properties["connection_name"] == "fsherald relay"
    assert pika_parameters.heartbeat == 30
    assert pika_parameters.blocked_connection_timeout is None
    assert pika_parameters.frame_max == 131072
