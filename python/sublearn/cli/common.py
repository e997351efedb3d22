"""What the verbs share: exit codes, refusals, the texts of networks and strategies, study files, tables."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

OK, DIFFERENT, BAD, INCOMPLETE, UNWRITABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
STUDY_NEEDS = ("matplotlib", "xarray", "rich", "jinja2")


class Refused(Exception):
    """An input that cannot be used: its text goes to stderr, the exit code is 2."""


def whole_number(text: str) -> int | None:
    """The whole number in a text of at most 20 ASCII digits, else None."""
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None


def short(text: str) -> str:
    """What came, for messages: at most about 60 characters of it."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def read_study(path: str | None) -> Any:
    """The study in a file, or the built-in one."""
    from ..study import SpecError, default_spec, read_spec

    try:
        return default_spec() if path is None else read_spec(path)
    except SpecError as error:
        raise Refused(error) from None


def checked(work: Callable[[Any], Any], spec: Any) -> Any:
    """work(spec), a SpecError of it as a refusal."""
    from ..study import SpecError

    try:
        return work(spec)
    except SpecError as error:
        raise Refused(error) from None


def missing_for_studies() -> list[str]:
    """What the extra `study` needs and this Python does not find."""
    return [name for name in STUDY_NEEDS if importlib.util.find_spec(name) is None]


def need_study() -> None:
    """Refused, unless everything that the extra `study` needs is installed."""
    if missing := missing_for_studies():
        raise Refused(f"the extra 'study' is missing ({', '.join(missing)} not installed); install it with: pip install 'sublearn[study]'")


def network_in(text: str) -> Any:
    """The network in a text like those of `Network.describe`."""
    from ..model.network import network_from_spec

    form = 'such as "recurrent 2-8-2, T=6, linear" or "feedforward 3-4-2, m=3, relu, bias b1+b2, gain g1"'
    words = re.split(r"[,\s]+", text.strip())
    if len(words) < 3 or words[0] not in ("recurrent", "feedforward") or not re.fullmatch("[0-9]{1,9}(-[0-9]{1,9})+", words[1]):
        raise Refused(f"--network: expected a network {form}, got {short(text)}")
    widths = [int(part) for part in words[1].split("-")]
    plain: dict[str, Any] = {"kind": words[0]}
    letter, count = ("T", "steps") if words[0] == "recurrent" else ("m", "samples")
    rest = words[2:]
    while rest:
        word = rest.pop(0)
        value: Any
        if re.fullmatch(f"{letter}=[0-9]{{1,9}}", word):
            key, value = count, int(word[2:])
        elif word in ("linear", "relu", "tanh"):
            key, value = "activation", word
        elif word in ("bias", "gain"):
            letters = "bc" if word == "bias" else "g"
            names = rest.pop(0).split("+") if rest and re.fullmatch(rf"[{letters}][0-9]*(\+[{letters}][0-9]*)*", rest[0]) else None
            key, value = word, names or True
        elif rest and words[0] == "recurrent" and rest[0] == "sequences" and re.fullmatch("[0-9]{1,9}", word):
            rest.pop(0)
            key, value = "samples", int(word)
        elif rest and word == "leak" and re.fullmatch(r"[0-9.]{1,20}(e-?[0-9]{1,2})?", rest[0]):
            key, value = "leak", _number(rest.pop(0))
        else:
            raise Refused(f"--network: expected a network {form}, got {short(word)} in {short(text)}")
        if key in plain:
            raise Refused(f"--network: expected {key} once, got {short(text)}")
        plain[key] = value
    if words[0] == "recurrent":
        if len(widths) != 3:
            raise Refused(f"--network: expected inputs-hidden-outputs such as 2-8-2, got {short(words[1])}")
        plain |= dict(zip(("inputs", "hidden", "outputs"), widths, strict=True))
    else:
        plain["widths"] = widths
    try:
        return network_from_spec(plain)
    except (ValueError, TypeError) as error:
        raise Refused(f"--network: {error}") from None


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text  # the network says what is wrong with it


def strategy_in(net: Any, text: str, shared: tuple[str, ...]) -> Any:
    """The strategy in a text: its kind, then key=value for numbers, names (within=W1+W2) and shapes (2x5)."""
    from ..model.strategies import STRATEGIES, strategy_from_spec

    if not text.strip():
        raise ValueError(f'--strategy: expected a strategy such as "scattered budget=10 within=W", got {text!r}')
    kind, *words = text.split()
    plain: dict[str, Any] = {"kind": kind}
    about = STRATEGIES.get(kind)
    by_group = about is not None and about.by_group
    for word in words:
        key, equals, value = word.partition("=")
        given = plain.setdefault("budgets", {}) if by_group else plain
        if not equals and about is not None and about.within == "groups":
            plain.setdefault("groups", []).append(word)
            continue
        if not (equals and key):
            raise ValueError(f"--strategy: expected key=value, got {short(word)}")
        if key in given:
            raise ValueError(f"--strategy: expected {key} once, got {short(text)}")
        number = whole_number(value)
        if number is not None:
            given[key] = number
        elif not by_group and re.fullmatch("[0-9]{1,9}x[0-9]{1,9}", value):
            given[key] = [int(part) for part in value.split("x")]
        else:
            given[key] = value.split("+") if "+" in value and not by_group else value
    return strategy_from_spec(net, plain, shared)


def print_json(value: Any) -> None:
    """One line; what JSON has no number for is null."""
    print(json.dumps(_plain(value), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if hasattr(value, "item") else str(value)


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    lines = [tuple(" ".join(str(part).split()) for part in line) for line in (head, *rows)]  # a label may hold a line break
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    for line in lines:
        print("  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip())
