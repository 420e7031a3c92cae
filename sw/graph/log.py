"""Messages for people, on standard error, as in TensorFlow's `tf.logging`: warnings and worse,
until `set_verbosity` asks for more."""

from __future__ import annotations

import logging
from typing import Any

DEBUG, INFO, WARN, ERROR, FATAL = (
    logging.DEBUG,
    logging.INFO,
    logging.WARNING,
    logging.ERROR,
    logging.CRITICAL,
)
_LOGGER = logging.getLogger("systolica")
_LOGGER.setLevel(WARN)


def set_verbosity(v: int) -> None:
    """Show messages of this level and worse."""
    if not _LOGGER.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s:systolica:%(message)s"))
        _LOGGER.addHandler(handler)
    _LOGGER.setLevel(v)


def get_verbosity() -> int:
    """The level from which on messages are shown."""
    return _LOGGER.level


def get_logger() -> logging.Logger:
    """The logger of Python's `logging` that all messages go to."""
    return _LOGGER


def log(level: int, msg: str, *args: Any) -> None:
    """A message of a level."""
    _LOGGER.log(level, msg, *args)


def debug(msg: str, *args: Any) -> None:
    """For who looks for a defect."""
    _LOGGER.debug(msg, *args)


def info(msg: str, *args: Any) -> None:
    """Progress."""
    _LOGGER.info(msg, *args)


def warn(msg: str, *args: Any) -> None:
    """Something that is probably not meant."""
    _LOGGER.warning(msg, *args)


def error(msg: str, *args: Any) -> None:
    """Something that failed."""
    _LOGGER.error(msg, *args)


def fatal(msg: str, *args: Any) -> None:
    """Something after which nothing can go on."""
    _LOGGER.critical(msg, *args)


warning = warn
