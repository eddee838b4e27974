/*
 * status.c: names, texts and exit codes of hwb_status, all from the one list
 * HWB_STATUS_MAP.  Values outside the list (a damaged int) answer as EINTERNAL.
 */
#include "base/base.h"

const char *hwb_status_name(hwb_status status) {
    switch (status) {
#define XX(name, value, exit_code, text)                                                           \
    case HWB_##name: return #name;
        HWB_STATUS_MAP(XX)
#undef XX
    }
    return "EINTERNAL";
}

const char *hwb_status_text(hwb_status status) {
    switch (status) {
#define XX(name, value, exit_code, text)                                                           \
    case HWB_##name: return text;
        HWB_STATUS_MAP(XX)
#undef XX
    }
    return hwb_status_text(HWB_EINTERNAL);
}

int hwb_status_exit_code(hwb_status status) {
    switch (status) {
#define XX(name, value, exit_code, text)                                                           \
    case HWB_##name: return exit_code;
        HWB_STATUS_MAP(XX)
#undef XX
    }
    return hwb_status_exit_code(HWB_EINTERNAL);
}
