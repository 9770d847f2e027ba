/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Intrusive doubly linked lists: a struct list is the head, and also the link inside each member.
 * A link that is on no list points at itself, so list_del() may be called twice.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define list_entry(link, type, member) ((type *)((char *)(link) - offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert(struct list *prev, struct list *next, struct list *l)
{
	l->prev = prev;
	l->next = next;
	prev->next = l;
	next->prev = l;
}

/* At the front (the newest end of an LRU list). */
static inline void list_add(struct list *head, struct list *l)
{
	list_insert(head, head->next, l);
}

static inline void list_add_tail(struct list *head, struct list *l)
{
	list_insert(head->prev, head, l);
}

static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

static inline void list_move(struct list *head, struct list *l)
{
	list_del(l);
	list_add(head, l);
}

#endif
