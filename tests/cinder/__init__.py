"""The driver in a real Cinder: API, scheduler and volume service with MariaDB, RabbitMQ, Keystone, Glance and Samba.

``nox -s cinder`` runs the tests of this directory, ``nox -s tempest`` runs Tempest. What starts the services needs
nothing but the standard library; what runs in their environments says so.
"""
