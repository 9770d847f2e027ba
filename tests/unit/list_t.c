// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/list.h"
#include "unit.h"

struct member {
	int before;
	struct list link;
	char name;
};

static struct list head;
static struct member m[3];

static void start(void)
{
	list_init(&head);
	for (int i = 0; i < 3; i++) {
		list_init(&m[i].link);
		m[i].name = (char)('a' + i);
	}
}

/* The names from front to back, and a '!' wherever the way back differs. */
static const char *names(void)
{
	static char text[16];
	unsigned n = 0;

	for (struct list *l = head.next; l != &head && n < 12; l = l->next) {
		text[n++] = list_entry(l, struct member, link)->name;
		if (l->prev->next != l)
			text[n++] = '!';
	}
	text[n] = 0;
	return text;
}

static void empty(void)
{
	start();
	CU_ASSERT_TRUE(list_is_empty(&head));
	CU_ASSERT_STRING_EQUAL(names(), "");
}

static void add_front(void)
{
	start();
	for (int i = 0; i < 3; i++)
		list_add(&head, &m[i].link);
	CU_ASSERT_STRING_EQUAL(names(), "cba");
	CU_ASSERT_FALSE(list_is_empty(&head));
	CU_ASSERT_PTR_EQUAL(head.prev, &m[0].link);
}

static void add_back(void)
{
	start();
	for (int i = 0; i < 3; i++)
		list_add_tail(&head, &m[i].link);
	CU_ASSERT_STRING_EQUAL(names(), "abc");
	CU_ASSERT_PTR_EQUAL(head.prev, &m[2].link);
}

static void del_any(void)
{
	static const char *const left[] = { "bc", "ac", "ab" };

	for (int i = 0; i < 3; i++) {
		add_back();
		list_del(&m[i].link);
		CU_ASSERT_STRING_EQUAL(names(), left[i]);
		CU_ASSERT_TRUE(list_is_empty(&m[i].link));
	}
}

static void del_twice(void)
{
	add_back();
	list_del(&m[1].link);
	list_del(&m[1].link);
	CU_ASSERT_STRING_EQUAL(names(), "ac");
	CU_ASSERT_PTR_EQUAL(m[1].link.next, &m[1].link);
	CU_ASSERT_PTR_EQUAL(m[1].link.prev, &m[1].link);
}

static void del_last(void)
{
	start();
	list_add(&head, &m[0].link);
	list_del(&m[0].link);
	CU_ASSERT_TRUE(list_is_empty(&head));
	CU_ASSERT_PTR_EQUAL(head.prev, &head);
}

static void move_front(void)
{
	static const char *const now[] = { "abc", "bac", "cab" };

	for (int i = 0; i < 3; i++) {
		add_back();
		list_move(&head, &m[i].link);
		CU_ASSERT_STRING_EQUAL(names(), now[i]);
	}
}

static void move_between(void)
{
	struct list other;

	add_back();
	list_init(&other);
	list_move(&other, &m[1].link);
	CU_ASSERT_STRING_EQUAL(names(), "ac");
	CU_ASSERT_PTR_EQUAL(other.next, &m[1].link);
	CU_ASSERT_PTR_EQUAL(other.prev, &m[1].link);
	list_del(&m[1].link);
}

static void entry(void)
{
	CU_ASSERT_PTR_EQUAL(list_entry(&m[2].link, struct member, link), &m[2]);
}

static const struct unit_case cases[] = {
	{ "a new list is empty", empty },
	{ "add puts at the front", add_front },
	{ "add_tail puts at the back", add_back },
	{ "del takes out any member and leaves it on no list", del_any },
	{ "del may be called twice", del_twice },
	{ "without its only member a list is empty", del_last },
	{ "move brings any member to the front", move_front },
	{ "move works between lists", move_between },
	{ "an entry is found from its link", entry },
	{ NULL, NULL },
};

const struct unit_suite list_suite = { "list", cases };
