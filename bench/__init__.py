"""The harness: command line, grids, plan, executors, one run's life. See docs/journey-of-a-run.md."""

if __name__ == "bench":  # python -m bench, in a checkout that need not be installed
    import os
    import sys
    from pathlib import Path

    _source = str(Path(__file__).resolve().parent.parent / "src")
    if _source not in sys.path:  # here, and for all processes to come
        sys.path.insert(0, _source)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_source, os.environ.get("PYTHONPATH")]))
else:
    from spectral_bench.common.loaded import watch

    watch()  # before anything else is imported: records tell the code that was loaded
