/*
 * away_i.h: storages whose newest values are not in host memory: a device wrote its copy.
 *
 * Whoever asks for the data of such a tensor (hwb_tensor_data, and every function of this
 * folder that reads or writes elements) has them fetched first, so that nobody sees old
 * ones; who wants a status calls the owner's own function instead, and hwb__tensor_at_home
 * after it.
 */
#ifndef HWB_TENSOR_AWAY_I_H
#define HWB_TENSOR_AWAY_I_H

#include "tensor/tensor.h"

/* fetch(user) brings all values to hwb__tensor_address and can't fail (NaN for what is
 * lost); `user` must outlive this state of the tensor. */
void hwb__tensor_send_away(hwb_tensor *t, void (*fetch)(void *user), void *user);
/* That `user`; NULL where the host has the newest values. */
void *hwb__tensor_keeper(const hwb_tensor *t);
/* The values in host memory are the newest: they were fetched, or are overwritten now. */
void hwb__tensor_at_home(hwb_tensor *t);
/* hwb_tensor_data as it is, perhaps with old values. */
void *hwb__tensor_address(const hwb_tensor *t);

#endif
