#include "earmark/provisioner.h"

#include <esp_check.h>
#include <esp_idf_version.h>
#include <esp_log.h>
#include <esp_mac.h>
#include <esp_netif.h>
#include <esp_random.h>
#include <esp_wifi_default.h>
#include <stdlib.h>
#include <string.h>

/* ESP-IDF 6 moved the manager into a managed component and renamed it. */
#if ESP_IDF_VERSION_MAJOR >= 6
#include <network_provisioning/manager.h>
#include <network_provisioning/scheme_softap.h>
#define MANAGER(name) network_prov_mgr_##name
#define IS_PROVISIONED network_prov_mgr_is_wifi_provisioned
#define MANAGER_CONFIG network_prov_mgr_config_t
#define SCHEME network_prov_scheme_softap
#define NO_HANDLER NETWORK_PROV_EVENT_HANDLER_NONE
#define SECURITY NETWORK_PROV_SECURITY_1
#else
#include <wifi_provisioning/manager.h>
#include <wifi_provisioning/scheme_softap.h>
#define MANAGER(name) wifi_prov_mgr_##name
#define IS_PROVISIONED wifi_prov_mgr_is_provisioned
#define MANAGER_CONFIG wifi_prov_mgr_config_t
#define SCHEME wifi_prov_scheme_softap
#define NO_HANDLER WIFI_PROV_EVENT_HANDLER_NONE
#define SECURITY WIFI_PROV_SECURITY_1
#endif

static const char TAG[] = "provisioner";
static const char ENDPOINT[] = "earmark";
enum { POP_BYTES = 33, NAME_BYTES = 24 };

typedef struct {
    const em_kv_t *kv;
    em_identity_t *identity;
    bool stored;
} session_t;

/* Request: the JSON object of provisioning.h. Answer: "ok" or "refused". */
static esp_err_t on_identity(uint32_t session_id, const uint8_t *input, ssize_t n_input,
                             uint8_t **output, ssize_t *n_output, void *argument) {
    session_t *session = argument;
    (void)session_id;
    const bool ok =
        n_input > 0 &&
        em_provisioning_parse(session->identity, (const char *)input, (size_t)n_input) == EM_OK &&
        em_provisioning_save(session->kv, session->identity) == EM_OK;
    session->stored |= ok;
    *output = (uint8_t *)strdup(ok ? "ok" : "refused");
    *n_output = ok ? 2 : 7;
    return *output == NULL ? ESP_ERR_NO_MEM : ESP_OK;
}

/* The name tells devices apart while they are set up; it is random, not the MAC address. */
static void make_name(char name[NAME_BYTES]) {
    uint16_t number;
    esp_fill_random(&number, sizeof number);
    snprintf(name, NAME_BYTES, "Earmark-%04X", number);
}

bool em_provisioner_has_wifi(void) {
    const MANAGER_CONFIG config = {.scheme = SCHEME, .scheme_event_handler = NO_HANDLER};
    bool provisioned = false;
    if (MANAGER(init)(config) != ESP_OK) {
        return false;
    }
    (void)IS_PROVISIONED(&provisioned);
    MANAGER(deinit)();
    return provisioned;
}

esp_err_t em_provisioner_run(const em_kv_t *kv, const em_kv_t *factory, em_identity_t *identity) {
    const MANAGER_CONFIG config = {.scheme = SCHEME, .scheme_event_handler = NO_HANDLER};
    session_t session = {.kv = kv, .identity = identity};
    char pop[POP_BYTES] = {0}, name[NAME_BYTES];
    size_t n_pop = sizeof pop - 1;
    ESP_RETURN_ON_FALSE(factory->get(factory->context, "pop", pop, &n_pop) == EM_OK,
                        ESP_ERR_NOT_FOUND, TAG,
                        "no proof of possession: write it with the factory tool");
    make_name(name);
    esp_netif_create_default_wifi_ap();
    ESP_RETURN_ON_ERROR(MANAGER(init)(config), TAG, "manager");
    ESP_RETURN_ON_ERROR(MANAGER(endpoint_create)(ENDPOINT), TAG, "endpoint");
    ESP_RETURN_ON_ERROR(MANAGER(start_provisioning)(SECURITY, pop, name, NULL), TAG, "start");
    ESP_RETURN_ON_ERROR(MANAGER(endpoint_register)(ENDPOINT, on_identity, &session), TAG,
                        "endpoint");
    ESP_LOGI(TAG, "waiting for an installer at %s", name);
    MANAGER(wait)();
    MANAGER(deinit)();
    memset(pop, 0, sizeof pop);
    return session.stored ? ESP_OK : ESP_ERR_NOT_FINISHED;
}
