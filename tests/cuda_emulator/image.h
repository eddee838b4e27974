/*
 * image.h: what stands in for a cubin or PTX text: lines, ended by a zero.
 *
 *   HWBEMU1                          the first line
 *   shim 01ab...                     of the device.h it was compiled with
 *   arch 90                          asked for
 *   kind cubin | ptx
 *   kernel hwb_kernel 32             registers that the real compiler used
 *   module /tmp/.../0123abcd.so      the last line
 */
#ifndef HWB_EMU_IMAGE_H
#define HWB_EMU_IMAGE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EMU_IMAGE_TEXT = 2048 };

typedef struct emu_image {
    int arch;
    bool is_ptx;
    char path[1024];
    char text[EMU_IMAGE_TEXT];
} emu_image;

static inline bool emu_image_read(emu_image *image, const char *text) {
    char kind[8] = "";
    const char *module;
    if (strncmp(text, "HWBEMU1\n", 8) != 0 || strlen(text) >= EMU_IMAGE_TEXT) return false;
    strcpy(image->text, text);
    module = strstr(text, "\nmodule ");
    if (!module ||
        sscanf(text, "HWBEMU1 shim " EMU_SHIM " arch %d kind %7s", &image->arch, kind) != 2)
        return false;
    image->is_ptx = strcmp(kind, "ptx") == 0;
    return sscanf(module, " module %1023[^\n]", image->path) == 1;
}

/* 0: not known */
static inline int emu_image_registers(const emu_image *image, const char *kernel) {
    char key[256];
    snprintf(key, sizeof key, "\nkernel %.200s ", kernel);
    const char *at = strstr(image->text, key);
    return at ? atoi(at + strlen(key)) : 0;
}

#endif
