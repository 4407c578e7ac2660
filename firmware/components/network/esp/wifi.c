#include "earmark/wifi.h"

#include <esp_check.h>
#include <esp_event.h>
#include <esp_log.h>
#include <esp_netif.h>
#include <esp_timer.h>
#include <esp_wifi.h>

static const char TAG[] = "wifi";

/* Long enough not to hammer a router that restarts, short enough that nobody waits for it. */
enum { FIRST_RETRY_MS = 1000, LAST_RETRY_MS = 30000 };

static esp_timer_handle_t s_retry;
static uint32_t s_retry_ms = FIRST_RETRY_MS;

static void retry(void *argument) {
    (void)argument;
    const esp_err_t error = esp_wifi_connect();
    if (error != ESP_OK) {
        ESP_LOGW(TAG, "connect: %s", esp_err_to_name(error));
    }
}

static void on_event(void *argument, esp_event_base_t base, int32_t id, void *data) {
    (void)argument;
    (void)data;
    if (base == IP_EVENT && id == IP_EVENT_STA_GOT_IP) {
        s_retry_ms = FIRST_RETRY_MS;
        ESP_LOGI(TAG, "connected");
    } else if (base == WIFI_EVENT && id == WIFI_EVENT_STA_START) {
        retry(NULL);
    } else if (base == WIFI_EVENT && id == WIFI_EVENT_STA_DISCONNECTED) {
        (void)esp_timer_start_once(s_retry, s_retry_ms * 1000ull);
        s_retry_ms = s_retry_ms * 2 < LAST_RETRY_MS ? s_retry_ms * 2 : LAST_RETRY_MS;
    }
}

esp_err_t em_wifi_init(void) {
    ESP_RETURN_ON_ERROR(esp_netif_init(), TAG, "netif");
    ESP_RETURN_ON_ERROR(esp_event_loop_create_default(), TAG, "event loop");
    esp_netif_create_default_wifi_sta();
    const wifi_init_config_t config = WIFI_INIT_CONFIG_DEFAULT();
    ESP_RETURN_ON_ERROR(esp_wifi_init(&config), TAG, "driver");
    return ESP_OK;
}

esp_err_t em_wifi_start(void) {
    const esp_timer_create_args_t timer = {.callback = retry, .name = "wifi_retry"};
    ESP_RETURN_ON_ERROR(esp_timer_create(&timer, &s_retry), TAG, "timer");
    ESP_RETURN_ON_ERROR(esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_event, NULL),
                        TAG, "handler");
    ESP_RETURN_ON_ERROR(esp_event_handler_register(IP_EVENT, IP_EVENT_STA_GOT_IP, on_event, NULL),
                        TAG, "handler");
    ESP_RETURN_ON_ERROR(esp_wifi_set_mode(WIFI_MODE_STA), TAG, "mode");
    return esp_wifi_start();
}

bool em_wifi_rssi_dbm(int8_t *rssi_dbm) {
    wifi_ap_record_t record;
    if (esp_wifi_sta_get_ap_info(&record) != ESP_OK) {
        return false;
    }
    *rssi_dbm = record.rssi;
    return true;
}
