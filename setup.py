"""The packages and their data, found: the top level is `dsegym`, and every folder in its layers is a part of it."""

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

LAYERS = ("agents*", "costmodels*", "envs*", "experiments*")
DATA = ["*.css", "*.csv", "*.j2", "*.js", "*.json", "*.jsonl", "*.md", "*.parquet", "*.safetensors", "*.toml"]
PARTS = [f"dsegym.{name}" for name in find_namespace_packages(".", include=LAYERS, exclude=["*__pycache__*"])]


class Build(build_py):
    """The build, without this file."""

    def find_package_modules(self, package, package_dir):
        """The modules of a package."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(
    packages=["dsegym", *PARTS],
    package_data={"dsegym": ["py.typed"], **dict.fromkeys(PARTS, DATA)},
    cmdclass={"build_py": Build},
)
