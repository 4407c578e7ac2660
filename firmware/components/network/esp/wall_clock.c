#include "earmark/wall_clock.h"

#include <esp_netif_sntp.h>
#include <esp_timer.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

static _Atomic uint32_t s_set_up_s; /* seconds since boot of the newest answer; 0: none */

static void on_time(struct timeval *time) {
    (void)time;
    atomic_store(&s_set_up_s, (uint32_t)(esp_timer_get_time() / 1000000) + 1u);
}

static uint64_t up_ms(void *context) {
    (void)context;
    return (uint64_t)esp_timer_get_time() / 1000u;
}

static bool wall_ms(void *context, int64_t *unix_ms, uint64_t *set_age_ms) {
    (void)context;
    const uint32_t set_up_s = atomic_load(&s_set_up_s);
    struct timeval now;
    gettimeofday(&now, NULL);
    *unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
    *set_age_ms = set_up_s == 0 ? 0 : up_ms(NULL) - (set_up_s - 1) * 1000ull;
    return set_up_s != 0;
}

em_clock_t em_wall_clock_port(void) {
    return (em_clock_t){.up_ms = up_ms, .wall_ms = wall_ms};
}

esp_err_t em_wall_clock_start(const char *server) {
    const struct timeval build = {.tv_sec = EARMARK_BUILD_UNIX_S};
    struct timeval now;
    gettimeofday(&now, NULL);
    if (now.tv_sec < build.tv_sec) {
        settimeofday(&build, NULL);
    }
    esp_sntp_config_t config = ESP_NETIF_SNTP_DEFAULT_CONFIG(server);
    config.sync_cb = on_time;
    return esp_netif_sntp_init(&config);
}
