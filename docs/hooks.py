"""Generates the reference pages of the documentation from code, when MkDocs builds the site.

Each function of `PAGES` returns the Markdown of one page, so page and code cannot differ.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
os.environ["COLUMNS"] = "200"  # typer wraps its texts at the width of the terminal

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from sheaf.catalog.price_schema import Pricing
from sheaf.catalog.schema import Bundle, Policy, Product
from sheaf.cli import app as command_line
from sheaf.serving.settings import Settings, accepted, variable
from sheaf.strategy import Strategy
from sheaf.strategy.policy.conditions import Rule
from sheaf.training import Parameters


def cell(text: str) -> str:
    """The text in one cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n"


# --- command line -----------------------------------------------------------------------------------------------


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


def default_of(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    if callable(value) or value is None or value is False or value == () or value == []:
        return ""
    if isinstance(value, Path) and value.is_absolute():  # a file that comes with Sheaf
        value = Path(*value.parts[-2:])
    return f"`{value}`"


def command_section(path: tuple[str, ...], command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    named = [f"[{p.human_readable_name}]" if not p.required else p.human_readable_name for p in arguments]
    needed = [f"{p.opts[0]} {p.human_readable_name.upper()}" for p in options if p.required]
    usage = " ".join([*path, *named, *needed, "[OPTIONS]"])
    parts = [f"## {' '.join(path)}", inspect.cleandoc(command.help or ""), f"```text\n{usage}\n```"]
    if arguments:
        rows = [(f"`{p.human_readable_name}`", p.help or "") for p in arguments]
        parts.append(table(("argument", "meaning"), rows))
    if options:
        rows = [(f"`{', '.join((*p.opts, *p.secondary_opts))}`", p.help or "", default_of(p)) for p in options]
        parts.append(table(("option", "meaning", "default"), rows))
    return "\n\n".join(parts)


def command_line_page() -> str:
    sections = [command_section(*item) for item in commands(typer.main.get_command(command_line), ("sheaf",))]
    intro = (
        "# Command line\n\nGenerated from the `sheaf` command. `sheaf --help` and `sheaf VERB --help` print the same. "
        "A command exits with 0 on success, with 1 if it found something wrong, and with 2 if it was called wrongly."
    )
    return "\n\n".join([intro, *sections])


# --- HTTP -------------------------------------------------------------------------------------------------------


def plain_name(name: str) -> str:
    """The name of a model without its parameters: `Rule_int_` is a Rule."""
    return name.partition("_")[0]


def schema_type(schema: dict[str, Any]) -> str:
    """The type of a value, with links to the objects that it names."""
    if reference := schema.get("$ref"):
        name = plain_name(reference.rsplit("/", 1)[1])
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        kinds = [kind for choice in choices for kind in schema_type(choice).split(" or ")]
        return " or ".join(sorted(dict.fromkeys(kinds), key="null".__eq__))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {schema_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {schema_type(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "any")


def bounds(schema: dict[str, Any]) -> str:
    """What a value must satisfy, in words: "1 to 1,000 items"."""
    parts = []
    for low, high, unit in (
        ("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items")
    ):  # fmt: skip
        if low in schema and high in schema:
            parts.append(f"{schema[low]:,g} to {schema[high]:,g}{unit}")
        elif low in schema:
            parts.append(f"at least {schema[low]:,g}{unit.removesuffix('s') if schema[low] == 1 else unit}")
        elif high in schema:
            parts.append(f"at most {schema[high]:,g}{unit}")
    if "exclusiveMinimum" in schema:
        parts.append(f"above {schema['exclusiveMinimum']:,g}")
    if "exclusiveMaximum" in schema:
        parts.append(f"below {schema['exclusiveMaximum']:,g}")
    return "; ".join(parts)


def object_section(name: str, schema: dict[str, Any]) -> str:
    parts = [f"### {name}\n", schema.get("description", "")]
    if "enum" in schema:
        parts.append("One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".")
    required = set(schema.get("required", ()))
    rows = []
    for field, value in schema.get("properties", {}).items():
        said = "; ".join(filter(None, (value.get("description", ""), bounds(value))))
        fallback = "" if value.get("default") is None else f"`{value['default']}`"
        rows.append((f"`{field}`", schema_type(value), "yes" if field in required else fallback, said))
    if rows:
        parts.append(table(("field", "type", "required, or default", "meaning"), rows))
    return "\n\n".join(parts)


def operation_section(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"### {method.upper()} {path}\n", operation.get("description", "")]
    rows = [
        (f"`{p['name']}`", p["in"], schema_type(p["schema"]), p.get("description", ""))
        for p in operation.get("parameters", ())
        if p["in"] != "header"
    ]
    if rows:
        parts.append(table(("parameter", "in", "type", "meaning"), rows))
    if body := operation.get("requestBody"):
        parts.append(f"Body: {schema_type(body['content']['application/json']['schema'])}.")
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    refusals = ", ".join(code for code in sorted(operation["responses"]) if code != "200")
    parts.append(f"Answer: {schema_type(answer)}. Refusals ([Problem](#problem)): {refusals}.")
    return "\n\n".join(parts)


def http_page() -> str:
    from sheaf.serving.service import app

    api = app.openapi()
    parts = [
        "# HTTP API",
        f"{api['info']['summary']}. Generated from the service's OpenAPI description, which a running service returns "
        "at `/openapi.json`. Authentication, scopes and limits: [Control access](../guides/access.md). "
        "A first call, with code: [Connect a channel](../tutorials/channel-developer.md). Every request may carry a "
        "header `X-Request-ID` of 1 to 200 printable characters, which answer, logs and refusals repeat.",
        "## Endpoints",
        *(
            operation_section(path, method, operation)
            for path, methods in api["paths"].items()
            for method, operation in methods.items()
        ),
        "## Objects",
        *(object_section(name, schema) for name, schema in sorted(api["components"]["schemas"].items())),
    ]
    return "\n\n".join(parts)


# --- YAML files -------------------------------------------------------------------------------------------------


def model_sections(*roots: type[BaseModel]) -> str:
    """A section for each model and for every model that its fields hold, each once."""
    sections: dict[str, str] = {}
    for root in roots:
        schema = root.model_json_schema(ref_template="#/$defs/{model}")
        for name, model in {root.__name__: schema, **schema.get("$defs", {})}.items():
            if plain_name(name) != name:  # pydantic describes `Rule[int]`, `Rule[str]`, … apart, and without words
                fields = model["properties"] | {"then": {"type": "the outcome"}}
                name, model = "Rule", model | {"description": inspect.getdoc(Rule), "properties": fields}
            sections.setdefault(name, model_section(name, model))
    return "\n\n".join(sections.values())


def model_section(name: str, model: dict[str, Any]) -> str:
    parts = [f"## {name}", model.get("description", "")]
    if "enum" in model:
        parts.append("One of " + ", ".join(f"`{value}`" for value in model["enum"]) + ".")
    required = set(model.get("required", ()))
    rows = []
    for field, value in model.get("properties", {}).items():
        simple = isinstance(value.get("default"), bool | int | float | str) and value["default"] != ""
        shown = json.dumps(value.get("default")).strip('"')
        fallback = f"`{shown}`" if simple else ""
        said = "; ".join(filter(None, (value.get("description", ""), bounds(value))))
        rows.append((f"`{field}`", schema_type(value), "required" if field in required else fallback, said))
    if rows:
        parts.append(table(("field", "type", "default", "bounds"), rows))
    return "\n\n".join(parts)


def catalog_page() -> str:
    intro = (
        "# Catalog fields\n\nGenerated from the models that read a catalog. [Write a catalog](../guides/catalog.md) "
        "explains the fields with examples, and [Price sheet](price-sheet.md) those of the section `pricing`."
    )
    return intro + "\n\n" + model_sections(Product, Bundle, Policy, Pricing)


def policy_page() -> str:
    intro = (
        "# Policy fields\n\nGenerated from the models that read a strategy policy. "
        "[Write a strategy policy](../guides/strategy.md) explains its parts with examples."
    )
    return intro + "\n\n" + model_sections(Strategy)


def parameters_page() -> str:
    rows = []
    for name, field in Parameters.model_fields.items():
        value = field.get_default(call_default_factory=True)
        shown = "see below" if isinstance(value, dict) else f"`{value}`"
        rows.append((f"`{name}`", shown, field.description or ""))
    parts = [
        "# Training parameters",
        "Generated from `Parameters`. A YAML file given to `sheaf train --parameters FILE` replaces any of them "
        "([Train and promote](../guides/training.md#parameters)); `sheaf tune` searches for better ones.",
        table(("field", "default", "meaning"), rows),
        "## LightGBM's own parameters",
        "Under `adoption`, `choice` and `ranking`, by LightGBM's names. The defaults:",
    ]
    names = [name for name, value in Parameters() if isinstance(value, dict)]
    values = [dict(getattr(Parameters(), name)) for name in names]
    keys = sorted({key for value in values for key in value})
    parts.append(table(("parameter", *(f"`{name}`" for name in names)), (
        (f"`{key}`", *(f"`{value[key]}`" if key in value else "" for value in values)) for key in keys
    )))  # fmt: skip
    return "\n\n".join(parts)


def settings_page() -> str:
    """docs/reference/settings.md, which is a file of the repository: README links to it."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = f"{field.default:g}" if isinstance(field.default, float) else field.default
        shown = f"`{default}`" if default else "none"
        rows.append((f"`{variable(name)}`", shown, accepted(name), field.description or ""))
    others = [
        (
            "MLFLOW_TRACKING_URI",
            "`mlruns/mlflow.db`",
            "The registry of models; the service does not use it.",
        ),
        ("BENTOML_DO_NOT_TRACK", "`true`, set by Sheaf", "BentoML sends no usage data."),
        (
            "GOMP_SPINCOUNT",
            "`1000`, set by `sheaf.training`",
            "How long LightGBM's threads spin before they yield.",
        ),
        ("SHEAF_SCHEMA_EXAMPLES", "`30`", "For tests: requests of each kind that schemathesis generates."),
        ("SHEAF_WRITE_DOCS", "none", "For tests: any value writes generated pages again."),
    ]
    parts = [
        "# Settings",
        "Generated from `sheaf.serving.settings`. All settings are environment variables. A variable that is empty or "
        "not set has its default; a value that is not accepted is an error that names it.",
        table(("variable", "default", "accepts", "meaning"), rows),
        "## Variables of other programs, and of the tests",
        table(("variable", "default", "meaning"), ((f"`{name}`", *rest) for name, *rest in others)),
    ]
    return "\n\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": command_line_page,
    "reference/http-api.md": http_page,
    "reference/catalog.md": catalog_page,
    "reference/policy.md": policy_page,
    "reference/parameters.md": parameters_page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those of the folder."""
    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=page() + "\n"))
    return files
