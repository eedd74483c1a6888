import subprocess
import sys
import warnings

import pytest

from isp_sim import registry
from isp_sim.combinators import Combinator
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.formats.reader import Reader
from isp_sim.formats.writer import Writer
from isp_sim.stage import Degradation, Stage

STAGES = "isp_sim.stages"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes a distribution that can be found: its metadata, its entry points and its module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(distribution, entry_points, module=None, code=""):
        folder = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{STAGES}]\n" + "".join(f"{line}\n" for line in entry_points))
        if module:
            (tmp_path / f"{module}.py").write_text(code)
        registry.refresh()

    yield make
    monkeypatch.undo()
    registry.refresh()


def runtime_warnings(caught):
    return [str(w.message) for w in caught if w.category is RuntimeWarning]


class TestBuiltIns:
    @pytest.mark.parametrize(
        ("group", "base"),
        [
            ("isp_sim.stages", Stage | Combinator),
            ("isp_sim.degradations", Degradation),
            ("isp_sim.demosaicers", Demosaicer),
            ("isp_sim.readers", Reader),
            ("isp_sim.writers", Writer),
        ],
    )
    def test_every_name_loads_what_its_group_says(self, group, base):
        names = registry.names(group)
        assert names == sorted(names)
        assert names
        for name in names:
            plugin = registry.load(name, group)
            assert isinstance(plugin, type)
            assert issubclass(plugin, base)
            assert plugin.__doc__

    def test_one_group_or_several(self):
        both = registry.names(*registry.STAGE_GROUPS)
        assert {"mosaic", "jpeg"} <= set(both)
        assert "jpeg" not in registry.names(STAGES)
        assert "isp-sim" in registry.origin("jpeg", *registry.STAGE_GROUPS)
        with pytest.raises(registry.UnknownPlugin):
            registry.load("jpeg", STAGES)

    def test_listing_imports_nothing(self):
        code = (
            "import sys; from isp_sim import registry; names = registry.names(*registry.GROUPS); "
            "assert 'jpeg' in names and 'malvar2004' in names, names; "
            "heavy = {'torch', 'numpy', 'scipy', 'PIL', 'pydantic', 'isp_sim.stages', 'isp_sim.degradations'}; "
            "print(sorted(heavy & set(sys.modules)))"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


class TestUnknown:
    def test_the_nearest_is_offered(self):
        with pytest.raises(registry.UnknownPlugin, match="unknown demosaicer 'malvar2014': did you mean 'malvar2004'"):
            registry.load("malvar2014", "isp_sim.demosaicers")
        with pytest.raises(
            registry.UnknownPlugin, match="degradation or stage 'mosiac': did you mean 'mosaic'"
        ) as caught:
            registry.load("mosiac", *registry.STAGE_GROUPS)
        assert caught.value.nearest == "mosaic"

    def test_nothing_near_points_to_the_list(self):
        with pytest.raises(registry.UnknownPlugin, match="`isp-sim list`"):
            registry.load("qqqqqq", *registry.STAGE_GROUPS)

    def test_a_known_optional_one_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setattr(registry, "OPTIONAL", {"halation": "isp-sim-film"})
        with pytest.raises(registry.UnknownPlugin, match="pip install isp-sim-film"):
            registry.load("halation", *registry.STAGE_GROUPS)


class TestThirdParties:
    GOOD = "from isp_sim.stages.mosaic import Mosaic as Good\n"

    def test_a_plugin_is_found(self, install):
        install("acme-good", ["acme_good = acme_good_module:Good"], "acme_good_module", self.GOOD)
        assert "acme_good" in registry.names(STAGES)
        assert registry.load("acme_good", STAGES).__name__ == "Mosaic"
        assert registry.origin("acme_good", STAGES) == "acme-good"

    def test_listing_does_not_import_it(self, install):
        install("acme-lazy", ["acme_lazy = acme_lazy_module:Good"], "acme_lazy_module", self.GOOD)
        assert "acme_lazy" in registry.names(STAGES)
        assert "acme_lazy_module" not in sys.modules

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("import not_a_module_at_all\n", "ModuleNotFoundError"),
            ("1 / 0\n", "ZeroDivisionError"),
            ("def f(:\n", "SyntaxError"),
            ("", "AttributeError"),
        ],
    )
    def test_a_broken_one_costs_one_warning_and_its_own_name(self, install, code, reason):
        lines = ["acme_broken = acme_broken_module:Broken", "acme_fine = acme_fine_module:Good"]
        install("acme-mixed", lines, "acme_fine_module", self.GOOD)
        install("acme-more", [], "acme_broken_module", code)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert {"acme_broken", "acme_fine", "mosaic"} <= set(registry.names(STAGES))
            for _ in range(3):
                with pytest.raises(registry.BrokenPlugin, match=f"acme_broken.*acme-mixed.*{reason}"):
                    registry.load("acme_broken", STAGES)
            assert registry.load("acme_fine", STAGES).__name__ == "Mosaic"
            assert registry.load("mosaic", STAGES).__name__ == "Mosaic"
        (message,) = runtime_warnings(caught)
        assert "acme_broken" in message
        assert reason in message
        sys.modules.pop("acme_broken_module", None)

    def test_two_with_one_name_disable_that_name_alone(self, install):
        install(
            "acme-one",
            ["acme_both = acme_one_module:Good", "acme_only = acme_one_module:Good"],
            "acme_one_module",
            self.GOOD,
        )
        install("acme-two", ["acme_both = acme_two_module:Good"], "acme_two_module", self.GOOD)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(registry.BrokenPlugin, match=r"acme-one.*and acme-two.*uninstall one"):
                registry.load("acme_both", STAGES)
            assert registry.load("acme_only", STAGES).__name__ == "Mosaic"
        assert not runtime_warnings(caught)
        assert registry.origin("acme_both", STAGES) == "acme-one, acme-two"
        assert "acme_two_module" not in sys.modules

    def test_a_third_party_can_not_take_over_a_built_in(self, install):
        install("acme-grab", ["mosaic = acme_grab_module:Good"], "acme_grab_module", self.GOOD)
        with pytest.raises(registry.BrokenPlugin, match=r"acme-grab.*isp-sim"):
            registry.load("mosaic", STAGES)
        assert registry.load("demosaic", STAGES).__name__ == "Demosaic"

    def test_one_distribution_found_twice_counts_once(self, install, tmp_path, monkeypatch):
        install("acme-good", ["acme_good = acme_good_module:Good"], "acme_good_module", self.GOOD)
        copy = tmp_path / "again" / "acme_good-1.0.dist-info"
        copy.mkdir(parents=True)
        for file in (tmp_path / "acme_good-1.0.dist-info").iterdir():
            (copy / file.name).write_text(file.read_text())
        monkeypatch.syspath_prepend(str(copy.parent))
        registry.refresh()
        assert registry.load("acme_good", STAGES).__name__ == "Mosaic"
