/*
 * cubin.c: the registers that the real compiler used, out of a cubin.
 *
 * A cubin is an ELF file.  Its section .nv.info is a list of entries
 *     u8 format  u8 attribute  u16 bytes  data
 * of which format 4, attribute 0x2f holds (symbol index, registers).
 */
#include "nvrtc_i.h"

#include <elf.h>

enum { FORMAT_SIZED = 4, REGISTER_COUNT = 0x2f };

static const Elf64_Shdr *section(const char *cubin, int i) {
    const Elf64_Ehdr *head = (const void *)cubin;
    return (const void *)(cubin + head->e_shoff + (size_t)i * head->e_shentsize);
}

static const char *section_name(const char *cubin, const Elf64_Shdr *s) {
    const Elf64_Ehdr *head = (const void *)cubin;
    return cubin + section(cubin, head->e_shstrndx)->sh_offset + s->sh_name;
}

static const char *symbol_name(const char *cubin, const Elf64_Shdr *symbols, unsigned i) {
    const Elf64_Sym *s = (const void *)(cubin + symbols->sh_offset + i * sizeof(Elf64_Sym));
    return cubin + section(cubin, (int)symbols->sh_link)->sh_offset + s->st_name;
}

static void read_info(emu_image *image, const char *cubin, const Elf64_Shdr *info) {
    const char *at = cubin + info->sh_offset, *end = at + info->sh_size;
    while (at + 4 <= end) {
        unsigned short bytes = 0;
        unsigned pair[2];
        memcpy(&bytes, at + 2, sizeof bytes);
        size_t data = at[0] == FORMAT_SIZED ? bytes : 0;
        if (at[0] == FORMAT_SIZED && at[1] == REGISTER_COUNT && data == sizeof pair) {
            memcpy(pair, at + 4, sizeof pair);
            size_t used = strlen(image->text);
            snprintf(image->text + used, sizeof image->text - used, "kernel %.200s %u\n",
                     symbol_name(cubin, section(cubin, (int)info->sh_link), pair[0]), pair[1]);
        }
        at += 4 + data;
    }
}

void emu_cubin_read(emu_image *image, const char *cubin, size_t size) {
    const Elf64_Ehdr *head = (const void *)cubin;
    if (size < sizeof *head || memcmp(cubin, ELFMAG, SELFMAG) != 0) return;
    for (int i = 0; i < head->e_shnum; i++)
        if (strcmp(section_name(cubin, section(cubin, i)), ".nv.info") == 0)
            read_info(image, cubin, section(cubin, i));
}
