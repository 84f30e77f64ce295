"""`python -m es_xmodal` is `es-xmodal`."""

from es_xmodal.cli.main import main

if __name__ == "__main__":
    main()
