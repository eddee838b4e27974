/*
 * size.c: bytes, compression ratio, average bits and bit operations of a
 * network whose layers have their own bit widths.
 */
#include "quant/quant_i.h"

hwb_size_options hwb_size_defaults(void) {
    return (hwb_size_options){.count_rest = true};
}

hwb_size_report hwb_size(const hwb_size_layer *layers, int64_t count, const hwb_size_options *opt) {
    hwb_size_report r = {0};
    double weights = 0, bits = 0;
    for (int64_t i = 0; i < count; i++) {
        const hwb_size_layer *l = &layers[i];
        double n = (double)l->weights, loose = 0;
        if (opt->count_rest) loose += (double)l->rest;
        if (opt->state_dict) loose += (double)l->buffers;
        weights += n;
        bits += n * l->bits;
        r.bytes += n * l->bits / 8 + 4 * loose;
        if (l->bits < 32) r.bytes += (double)l->groups * opt->group_bytes;
        r.baseline_bytes += 4 * (n + loose);
        r.bops += (double)l->macs * l->bits * (l->act_bits ? l->act_bits : l->bits);
        r.parameters += l->weights + l->rest;
    }
    if (opt->baseline_bytes > 0) r.baseline_bytes = opt->baseline_bytes;
    r.mib = r.bytes / 0x1p20;
    r.ratio = r.bytes > 0 ? r.baseline_bytes / r.bytes : 0;
    r.average_bits = weights > 0 ? bits / weights : 0;
    return r;
}
