# Names for fingers; the work is in cargo and xtask.

default:
    @just --list

ci:
    cargo xtask ci

fix:
    cargo fmt --all
    cargo clippy --fix --allow-dirty --all-targets

test *args:
    cargo nextest run --locked {{args}}

docs:
    cargo xtask docs --write

demo:
    cargo run --release -- demo

sim:
    cargo run -- serve --simulate --no-auth
