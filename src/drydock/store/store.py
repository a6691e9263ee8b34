"""The store as one value: its database and the repositories of every collection."""

from __future__ import annotations

from drydock.store.audit import AuditRecords
from drydock.store.backups import BackupRecords
from drydock.store.containers import ContainerRecords
from drydock.store.database import Database, open_database
from drydock.store.documents import Documents
from drydock.store.notifications import NotificationRecords
from drydock.store.operations import OperationRecords
from drydock.store.retention import RetentionRecords
from drydock.store.scans import AlertRecords, ScanRecords
from drydock.store.settings import StoreSettings


class Store:
    """Every repository over one database. A room that brings a collection adds its repository here."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.containers = ContainerRecords(database)
        self.retention = RetentionRecords(database)
        self.documents = Documents(database)
        self.audit = AuditRecords(database)
        self.operations = OperationRecords(database)
        self.backups = BackupRecords(database)
        self.scans = ScanRecords(database)
        self.scan_alerts = AlertRecords(database)
        self.notifications = NotificationRecords(database)

    async def close(self) -> None:
        """Close the database."""
        await self.database.close()


async def open_store(settings: StoreSettings) -> Store:
    """Open, check and migrate the store; errors as `open_database`."""
    return Store(await open_database(settings))
