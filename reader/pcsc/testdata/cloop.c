/*
 * The baseline for the cost of a command: the plainest program against the smart card
 * service. It connects, begins a transaction, selects, and for every line "N" on
 * standard input sends GET BALANCE N times and prints the nanoseconds per command.
 *
 * cc -O2 cloop.c $(pkg-config --cflags --libs libpcsclite)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <winscard.h>

static void check(const char *what, LONG result)
{
	if (result != SCARD_S_SUCCESS) {
		fprintf(stderr, "%s: %s\n", what, pcsc_stringify_error(result));
		exit(1);
	}
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void transmit(SCARDHANDLE card, const SCARD_IO_REQUEST *pci, const BYTE *command, DWORD length)
{
	BYTE answer[258];
	DWORD got = sizeof answer;
	check("transmit", SCardTransmit(card, pci, command, length, NULL, answer, &got));
	if (got < 2 || answer[got - 2] != 0x90) {
		fprintf(stderr, "the card refused\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static const BYTE selectPurse[] = {0x00, 0xA4, 0x04, 0x00, 0x02, 0x50, 0x41, 0x00};
	static const BYTE getBalance[] = {0x80, 0x5C, 0x00, 0x02, 0x04};
	SCARDCONTEXT context;
	SCARDHANDLE card;
	DWORD protocol;
	const SCARD_IO_REQUEST *pci;
	long count;

	if (argc != 2)
		return 2;
	check("establish", SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context));
	while (scanf("%ld", &count) == 1 && count > 0) {
		check("connect", SCardConnect(context, argv[1], SCARD_SHARE_SHARED,
			SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, &card, &protocol));
		check("begin", SCardBeginTransaction(card));
		pci = protocol == SCARD_PROTOCOL_T0 ? SCARD_PCI_T0 : SCARD_PCI_T1;
		transmit(card, pci, selectPurse, sizeof selectPurse);
		long long start = now();
		for (long i = 0; i < count; i++)
			transmit(card, pci, getBalance, sizeof getBalance);
		long long took = now() - start;
		check("end", SCardEndTransaction(card, SCARD_LEAVE_CARD));
		check("disconnect", SCardDisconnect(card, SCARD_LEAVE_CARD));
		printf("%lld\n", took / count);
		fflush(stdout);
	}
	SCardReleaseContext(context);
	return 0;
}
