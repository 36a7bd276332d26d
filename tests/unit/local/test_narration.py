import io

from rich.cells import cell_len

from spawnai_local.narration import WIDTH, Narrator, bar, columns, fit, fit_table, wrap

LONG = "word " * 60 + "x" * 300


def told(tell) -> str:
    stream = io.StringIO()
    tell(Narrator(stream))
    return stream.getvalue()


def tell_everything(narrator: Narrator) -> None:
    narrator.title("Title", "word " * 60)
    narrator.step("Step")
    narrator.command("kubectl apply " * 20)
    narrator.output(LONG)
    narrator.say("word " * 60)
    narrator.lines([LONG, "日本語" * 60])
    narrator.part("part", LONG, 1.0)
    narrator.claim("word " * 60, holds=True)
    narrator.claim("word " * 60, holds=False, found="found " * 60)


def test_nothing_is_wider_than_100_columns():
    lines = told(tell_everything).splitlines()
    assert max(map(cell_len, lines)) == WIDTH
    assert len(lines) > 20


def test_what_is_told_is_never_read_as_markup():
    assert "[bold]x[/bold] :tada:" in told(lambda narrator: narrator.say("[bold]x[/bold] :tada:"))


def test_a_command_can_be_copied_over_several_lines():
    text = told(lambda narrator: narrator.command("kubectl annotate " + "word " * 30))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0].startswith("$ kubectl annotate")
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert not lines[-1].endswith("\\")


def test_a_command_is_not_broken_within_quotes():
    quoted = "'" + "word " * 10 + "'"
    text = told(lambda narrator: narrator.command(f"curl {'x' * 60} --json {quoted} http://a"))
    assert quoted in text


def test_a_broken_claim_shows_what_was_found_instead():
    text = told(
        lambda narrator: narrator.claim("the cloud is empty", holds=False, found="2 droplets")
    )
    assert "✗ the cloud is empty" in text
    assert "found: 2 droplets" in text


def test_steps_are_numbered():
    def tell(narrator):
        narrator.step("One")
        narrator.step("Two")

    lines = [line for line in told(tell).splitlines() if line]
    assert [line[:6] for line in lines] == ["1  One", "2  Two"]


def test_without_a_terminal_each_change_is_a_line_with_its_time():
    def tell(narrator):
        with narrator.display() as display:
            display.show(["a block that is redrawn"])
            display.say("board: Running")

    text = told(tell)
    assert "s] board: Running" in text
    assert "redrawn" not in text


def test_columns_are_aligned_also_with_wide_characters():
    assert columns([("NAME", "PHASE"), ("日本", "Running")]) == [
        "NAME   PHASE",
        "日本   Running",
    ]


def test_a_long_line_is_cut_with_an_ellipsis():
    assert fit("abcdef", 4) == "abc…"
    assert fit("abcd", 4) == "abcd"


def test_text_is_broken_at_spaces():
    assert wrap("aa bb cc", 5) == ["aa bb", "cc"]


def test_a_bar_is_full_at_100_and_never_longer():
    assert bar(0, 4) == "░░░░"
    assert bar(50, 4) == "██░░"
    assert bar(130, 4) == "████"


def test_a_table_that_is_too_wide_loses_the_widest_column_s_end():
    table = [
        "NAME     URL                            AGE",
        "board    http://board.apps.example.test 5s",
        "quotes   http://quotes.apps.test        1m",
    ]
    assert fit_table(table, 30) == [
        "NAME     URL               AGE",
        "board    http://board.a…   5s",
        "quotes   http://quotes.…   1m",
    ]
    assert fit_table(table, 80) == table


def test_a_reader_who_has_gone_does_not_stop_the_work():
    class Closed(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    narrator = Narrator(Closed())
    tell_everything(narrator)
    with narrator.display() as display:
        display.say("board: Running")
