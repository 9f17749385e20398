"""What tests of figures look at."""


def lines(axes):
    """The lines of a panel by their labels."""
    return {str(line.get_label()): line for line in axes.lines}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def caption(figure):
    return figure.get_supxlabel().replace("\n", " ")


def of_kind(axes, kind):
    return [found for found in axes.collections if type(found) is kind]
