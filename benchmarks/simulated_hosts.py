"""A meta-update over 1 to 20 hosts, simulated from what blocks of tasks take and how much travels; see hosts.py."""

from dataclasses import dataclass
from pathlib import Path

from measuring import print_head, print_row

#: Networks by name: bits per second, and seconds from machine to machine.
NETWORKS = {"1 Gb/s": (1e9, 2e-4), "10 Gb/s": (1e10, 1e-4)}
HOSTS = range(1, 21)
#: Numbers of hosts in the table.
SHOWN = (1, 2, 4, 5, 7, 10, 20)


@dataclass(frozen=True)
class Line:
    """Seconds of a block of n tasks: start + each · n."""

    start: float
    each: float

    def of(self, tasks: int) -> float:
        """Seconds of a block."""
        return self.start + self.each * tasks


@dataclass(frozen=True)
class Costs:
    """What a meta-update of a family is made of.

    Attributes:
        tasks: T.
        epochs: Epochs whose gradients are computed.
        sample: The rounds and fast-updates of a block.
        gradient: Its gradients of one epoch.
        terms: Its last forward pass.
        add: Seconds to add one task's gradient to the sum.
        step: Seconds of the driver in an epoch.
        call: Seconds of a call and its answer, without a network.
        hand_on: Seconds to hand the sum to the next host, without a network.
        parameters: Bytes of θ, and of the sum.
        outcomes: Bytes that one task sends back after sampling.
        own: Bytes that one task sends back in an epoch.
    """

    tasks: int
    epochs: int
    sample: Line
    gradient: Line
    terms: Line
    add: float
    step: float
    call: float
    hand_on: float
    parameters: int
    outcomes: int
    own: int


def simulated(costs: Costs, hosts: int, network: tuple[float, float] | None, by_tree: bool = False) -> dict[str, float]:
    """Return the seconds of a meta-update over equal hosts of one core each, by what they are spent on.

    The largest block decides. θ leaves the driver once for every host, one after the other through its one connection;
    the sum passes from host to host and at last to the driver. Without a network nothing travels: one process.

    Args:
        costs: What it is made of.
        hosts: H.
        network: Bits per second, and seconds from machine to machine; None for one process.
        by_tree: Whether pairs of hosts add up their sums at the same time, in an order that depends on the hosts.
    """
    block = -(-costs.tasks // hosts)
    computing = (
        costs.sample.of(block)
        + costs.epochs * (costs.gradient.of(block) + costs.add * costs.tasks + costs.step)
        + costs.terms.of(block)
    )
    if network is None:
        return {"computing": computing, "sending θ": 0.0, "handing on the sum": 0.0, "answers": 0.0}
    bandwidth, latency = network[0] / 8, network[1]
    sent = hosts * costs.parameters / bandwidth + latency + costs.call
    hops = (hosts - 1).bit_length() + 1 if by_tree else hosts
    handed = hops * (costs.parameters / bandwidth + latency + costs.hand_on)
    answers = costs.tasks * (costs.outcomes + costs.epochs * costs.own) / bandwidth
    return {
        "computing": computing,
        "sending θ": (costs.epochs + 2) * sent,
        "handing on the sum": costs.epochs * handed,
        "answers": answers,
    }


def knee(costs: Costs, network: tuple[float, float]) -> int:
    """Return the greatest number of hosts whose efficiency is a half or more."""
    alone = sum(simulated(costs, 1, None).values())
    return max(h for h in HOSTS if h == 1 or alone / (h * sum(simulated(costs, h, network).values())) >= 0.5)


def print_results(results: list[dict]) -> None:
    """Print what was measured, and what is simulated from it."""
    if scaling := [r for r in results if r["part"] == "scaling"]:
        _print_scaling(scaling)
    if losses := [r for r in results if r["part"] == "loss"]:
        _print_loss(losses)
    if blocks := [r for r in results if r["part"] == "blocks"]:
        columns = ("family", "network", "hosts", "seconds", "speed-up", "efficiency", "computing", "sending θ", "sum")
        print_head("Simulated", (*columns, "with the sum by a tree", "knee"))
        for result in blocks:
            _print_simulated(result["family"], costs_of(result))


def _print_loss(results: list[dict]) -> None:
    columns = (
        "family",
        "undisturbed, s",
        "killed → its end, s",
        "killed → end of the next, s",
        "the next, one host, s",
    )
    print_head("One of two nodes killed in the second epoch", columns)
    for result in results:
        names = ("undisturbed", "to_its_end", "to_the_end_of_the_next", "one_host")
        print_row(result["family"], *(f"{result[name]:.1f}" for name in names))


def _print_scaling(results: list[dict]) -> None:
    columns = ("family", "where", "seconds", "speed-up", "communication, s", "MB", "same returns")
    print_head("Meta-updates on cores of this machine", columns)
    for result in results:
        first = result["meta_updates"]["this process"]
        for name, row in result["meta_updates"].items():
            spent = (row.get(key) for key in ("seconds_communication", "megabytes_communicated"))
            told = ("–" if value is None else f"{value:.2f}" for value in spent)
            same = "yes" if row["average_returns"] == first["average_returns"] else "NO"
            speed_up = f"{first['seconds'] / row['seconds']:.2f}"
            print_row(result["family"], name, f"{row['seconds']:.1f}", speed_up, *told, same)


def _print_simulated(family: str, costs: Costs) -> None:
    alone = sum(simulated(costs, 1, None).values())
    print_row(family, "–", "one process", f"{alone:.1f}", *["–"] * 7)
    for name, network in NETWORKS.items():
        for hosts in SHOWN:
            parts = simulated(costs, hosts, network)
            total, tree = (sum(simulated(costs, hosts, network, by_tree).values()) for by_tree in (False, True))
            shares = (f"{parts[part]:.1f}" for part in ("computing", "sending θ", "handing on the sum"))
            told = f"{total:.1f}", f"{alone / total:.1f}", f"{alone / total / hosts:.0%}"
            print_row(family, name, str(hosts), *told, *shares, f"{tree:.1f}", str(knee(costs, network)))


def costs_of(result: dict) -> Costs:
    """Return what a family's meta-update is made of, from what was stored."""
    stored = {name: value for name, value in result["costs"].items() if name != "measured"}
    lines = {name: Line(**stored[name]) for name in ("sample", "gradient", "terms")}
    return Costs(**{**stored, **lines})


def draw(results: list[dict], path: Path) -> None:
    """Draw the speed-up against the number of hosts, a panel for every network, with the bound of the largest block."""
    from tesp.report.figures.style import GREY, colour, marker, panels, save, tidy

    figure, grid = panels((9.0, 4.0), columns=2)
    for axes, (name, network) in zip(grid[0], NETWORKS.items(), strict=True):
        for index, result in enumerate(results):
            costs = costs_of(result)
            alone = sum(simulated(costs, 1, None).values())
            y = [alone / sum(simulated(costs, hosts, network).values()) for hosts in HOSTS]
            axes.plot(HOSTS, y, color=colour(index), marker=marker(index), markersize=4, label=result["family"])
            knees = knee(costs, network)
            axes.plot(knees, y[knees - 1], "o", markersize=11, markerfacecolor="none", markeredgecolor=colour(index))
        tasks = results[0]["costs"]["tasks"]
        bound = [tasks / -(-tasks // hosts) for hosts in HOSTS]
        axes.plot(HOSTS, bound, color=GREY, linestyle="--", label="tasks ÷ largest block")
        axes.set_xticks([1, 5, 10, 15, 20])
        tidy(axes, f"Speed-up, {name}", "hosts of one core each")
    grid[0, 0].legend(frameon=False, fontsize=8)
    save(figure, path)
