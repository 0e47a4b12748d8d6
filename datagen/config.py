"""YAML in, validated frozen models out, with messages that name the field, the value and what to do."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from datagen.errors import UserError


class Frozen(BaseModel):
    """Base of every configuration model: immutable, no unknown keys, defaults checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Frozen)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping of a YAML file; only plain types (tags such as `!!python/...` are errors).

    Raises:
        UserError: the file is missing, is not UTF-8 YAML, or is not a mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code=2) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not plain YAML: {error}", code=2) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a mapping of keys to values, found {type(data).__name__}", code=2)
    return data


def parse(model: type[Model], data: dict[str, Any], where: str) -> Model:
    """Validate `data`; every problem becomes part of one readable line.

    Raises:
        UserError: unknown keys (with the nearest known one) or values out of range.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_describe(model, item) for item in error.errors())
        raise UserError(f"{where}: {problems}", code=2) from error


def override(data: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Copy of `data` with `a.b=value` assignments applied; values are read as YAML."""
    result: dict[str, Any] = _copy(data)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        names = key.strip().split(".")
        if not equals or not all(names):
            raise UserError(f"--set {assignment!r}: write it as key.subkey=value", code=2)
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:
            raise UserError(f"--set {key}: {text!r} is not a YAML value", code=2) from error
        node = result
        for depth, name in enumerate(names[:-1]):
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise UserError(f"--set {key}: {'.'.join(names[: depth + 1])} has no keys of its own", code=2)
        node[names[-1]] = value
    return result


def _copy(data: Any) -> Any:
    return {key: _copy(value) for key, value in data.items()} if isinstance(data, dict) else data


def _describe(model: type[BaseModel], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location) or "the whole"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.4)
        advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {name!r}; {advice}"
    if problem["type"] == "missing":
        return f"{name} is missing; add it"
    return f"{name} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for name in location:
        field = model.model_fields.get(name)
        if field is None:
            continue  # an index of a list
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        models = [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
        if models:
            model = models[0]
    return sorted(model.model_fields)
