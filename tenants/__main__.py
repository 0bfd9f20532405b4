"""`python -m tenants create-agency --name NAME [--workspace NAME --time-zone ZONE]`: the operator's commands."""

from tenants.command import main

main()
