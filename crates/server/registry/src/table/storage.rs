//! Storage classes, CSI, migration of stored versions.
use super::{Resource, build::*};
use crate::{
    print,
    strategy::{self, StatusMetadata, generation::ON_CHANGED_SPEC},
};

const STORAGE: &str = "storage.k8s.io";

pub fn rows() -> Vec<Resource> {
    let conditional = |r: Resource| r.strategy(|s| s.unconditional_update = false);
    let answering = |r: Resource| r.strategy(|s| s.answers_object = true);
    vec![
        conditional(answering(cluster(STORAGE, "v1", "CSIDriver", "csidrivers").columns(print::csi_driver())))
            .strategy(|s| s.generation = Some(ON_CHANGED_SPEC)),
        conditional(answering(cluster(STORAGE, "v1", "CSINode", "csinodes").status().columns(print::csi_node()))).strategy(|s| {
            s.status_metadata = StatusMetadata::Kept;
            s.gated = strategy::gates::CSI_NODE;
        }),
        conditional(namespaced(STORAGE, "v1", "CSIStorageCapacity", "csistoragecapacities").columns(print::csi_storage_capacity())),
        answering(cluster(STORAGE, "v1", "StorageClass", "storageclasses").short(&["sc"]).columns(print::storage_class())),
        conditional(answering(cluster(STORAGE, "v1", "VolumeAttachment", "volumeattachments").status().columns(print::volume_attachment())))
            .strategy(|s| s.status_metadata = StatusMetadata::Kept),
        answering(cluster(STORAGE, "v1", "VolumeAttributesClass", "volumeattributesclasses").short(&["vac"]).columns(print::volume_attributes_class())),
        conditional(
            cluster("storagemigration.k8s.io", "v1", "StorageVersionMigration", "storageversionmigrations")
                .status()
                .columns(print::storage_version_migration()),
        )
        .strategy(|s| s.status_metadata = StatusMetadata::Kept),
    ]
}
