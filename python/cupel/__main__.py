"""`python3 -m cupel`, which `./cupel` calls."""

from cupel.cli import main

if __name__ == "__main__":
    main(prog_name="./cupel")
