// Numbers that assembler and C++ share.
#pragma once

// Processors that the image can start. Their interrupt stubs, stacks and TSSs are static.
#define MOST_PROCESSORS 8
#define PROCESSOR_STACK_SIZE 0x10000
// Below 1 MiB, where a start-up message can send a processor: its vector is the page's number.
#define TRAMPOLINE 0x8000
