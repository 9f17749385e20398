"""Names for methods of one's own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tesp.config import common_fields
from tesp.errors import ConfigurationError
from tesp.methods.gradient.settings import GradientConfig, absent_of
from tesp.methods.registry import METHODS, Entry, named_options
from tesp.methods.settings import MethodConfig
from tesp.report.words import ALGORITHMS

if TYPE_CHECKING:
    from tesp.methods.gradient.algorithm import Algorithm


def register_method(
    name: str, method: "type[MethodConfig] | Callable[..., Algorithm] | None" = None, *, title: str = ""
) -> Any:
    """Give a method a name, under which configurations and the command line find it in this process.

    Called with a name alone, it is a decorator.

    Args:
        name: The name; one that is taken is refused.
        method: A `tesp.methods.settings.MethodConfig`; or a `tesp.methods.gradient.algorithm.Algorithm` (or what makes
            one), which is then a method that adapts by gradients and has the options of those that its constructor
            names.
        title: What tables and figures call it, in this process; its name unless given.

    Raises:
        ConfigurationError: The name is taken or no name, the title is another method's or no text, the method is
            neither of these, or one of its options is called like another one.
    """
    if method is None:
        return lambda given: register_method(name, given, title=title) and given
    if name in METHODS:
        raise ConfigurationError(f"There is a method {name!r} already; give another name.")
    if not name or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_."):
        raise ConfigurationError(f"{name!r} is not possible as the name of a method; give small letters, digits and -.")
    if not isinstance(title, str) or title in ALGORITHMS.values():
        raise ConfigurationError(
            f"title = {title!r} is not possible; give a text by which no other method is called, or leave it out."
        )
    if isinstance(method, type) and issubclass(method, MethodConfig):
        if "__dataclass_fields__" not in vars(method):
            raise ConfigurationError(f"{method.__name__} must be a frozen dataclass, whose fields are the options.")
        _require_names(name, method)
        entry = Entry(method)
    else:
        try:
            entry = Entry(GradientConfig, method, {}, absent_of(method))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{method!r} is no method; give a MethodConfig or an Algorithm.") from error
    METHODS[name] = entry
    if title:
        ALGORITHMS[name] = title
    return method


def _require_names(name: str, kind: type[MethodConfig]) -> None:
    """Refuse options whose names others have: the command line and `override` go by names alone."""
    found = [option for option, _ in named_options(kind)]
    taken = common_fields() | {"algorithm", "method", "output", "task", "sampling", "schedule", "log"}
    for option in found:
        if option in taken or found.count(option) > 1:
            whose = "all methods have" if option in taken else "it has twice"
            raise ConfigurationError(
                f"The method {name!r} has an option {option!r}, which {whose}; give it another name."
            )
