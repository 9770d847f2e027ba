// SPDX-License-Identifier: LGPL-2.1-or-later
/* Operations that not every device has: holes, ends that are not aligned, sizes. */
#include <errno.h>

#include "io/io.h"

int io_next_data(struct bufio_device *dev, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	if (dev->ops->next_data && offset < dev->info.size)
		return dev->ops->next_data(dev, offset, begin, end);
	*begin = offset < dev->info.size ? offset : dev->info.size;
	*end = dev->info.size;
	return 0;
}

int io_zero(struct bufio_device *dev, uint64_t offset, uint64_t bytes)
{
	return dev->ops->zero ? dev->ops->zero(dev, offset, bytes) : -EOPNOTSUPP;
}

int io_edge(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t bytes)
{
	return dev->ops->edge ? dev->ops->edge(dev, direction, offset, data, bytes) : -EOPNOTSUPP;
}

int io_resize(struct bufio_device *dev, uint64_t size)
{
	return dev->ops->resize ? dev->ops->resize(dev, size) : -EOPNOTSUPP;
}

int io_open_again(struct bufio_device *dev, struct bufio_device **again)
{
	return dev->ops->again ? dev->ops->again(dev, again) : -EOPNOTSUPP;
}
