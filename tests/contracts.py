"""An import contract on what modules name themselves, which import-linter's own kinds cannot say.

They know third-party packages only as a whole (`django`, not `django.http`).
"""

import ast
import pathlib
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol, cast

import grimp
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain import helpers
from importlinter.domain.imports import ModuleExpression


class Given(Protocol):
    """What import-linter makes of a contract's fields."""

    source_modules: Collection[ModuleExpression]
    forbidden_names: Collection[str]
    except_modules: Collection[ModuleExpression] | None


class Direct(Contract):
    """`source_modules` and all below them import none of `forbidden_names` (nor anything below those) directly.

    `except_modules` are left out. A pattern that matches no module is fine, so that an app may lack a layer.
    """

    source_modules = fields.SetField(subfield=fields.ModuleExpressionField())
    forbidden_names = fields.ListField(subfield=fields.StringField())
    except_modules = fields.SetField(subfield=fields.ModuleExpressionField(), required=False)

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """Parse every source module and collect the forbidden imports, with their lines."""
        given = cast(Given, self)
        excepted = _resolve(graph, given.except_modules or ())
        found = [
            f"{module} imports {name} (line {line})"
            for module in sorted(_with_descendants(graph, _resolve(graph, given.source_modules)) - excepted)
            for name, line in imported_names(module)
            if any(name == bad or name.startswith(f"{bad}.") for bad in given.forbidden_names)
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each forbidden import."""
        for line in check.metadata["found"]:
            output.print_error(line, bold=False)


def imported_names(module: str) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything a module imports, also inside functions and under TYPE_CHECKING."""
    path = pathlib.Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _resolve(graph: grimp.ImportGraph, expressions: Iterable[ModuleExpression]) -> set[str]:
    return {module.name for module in helpers.module_expressions_to_modules(graph, expressions)}


def _with_descendants(graph: grimp.ImportGraph, modules: set[str]) -> set[str]:
    return modules.union(*(graph.find_descendants(module) for module in modules))
