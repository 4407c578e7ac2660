/* From the bundle (audio side) to the catalog (what the rest of the device may know of it). */
#ifndef EARMARK_CATALOG_H
#define EARMARK_CATALOG_H

#include "earmark/bundle.h"
#include "earmark/wire.h"

/* EM_ERR_SIZE: more labels than EM_CATALOG_MAX_LABELS, or a name or version too long. */
em_status_t em_catalog_from_bundle(em_catalog_t *catalog, const em_bundle_t *bundle);

#endif
