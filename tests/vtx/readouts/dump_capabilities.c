/* Dumps CPUID leaves and VMX capability MSRs to COM1 as text lines. Multiboot image, 32-bit. */
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
__attribute__((section(".multiboot"), used)) static const u32 header[] = {0x1badb002, 0,
                                                                          -(0x1badb002)};
static volatile u32 faulted;
static inline void outb(u16 p, u8 v) { __asm__ volatile("outb %0,%1" ::"a"(v), "Nd"(p)); }
static inline u8 inb(u16 p) {
  u8 v;
  __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(p));
  return v;
}
static void putc(char c) {
  while ((inb(0x3fd) & 0x20) == 0) {
  }
  outb(0x3f8, c);
}
static void puts(const char* s) {
  while (*s) putc(*s++);
}
static void hex(u32 v) {
  for (int i = 28; i >= 0; i -= 4) putc("0123456789abcdef"[v >> i & 15]);
}
void on_gp(void);
__asm__(".globl on_gp\non_gp:\n movl $1, faulted\n addl $4,%esp\n addl $2,(%esp)\n iret\n");
static struct {
  u16 lo, sel;
  u8 zero, type;
  u16 hi;
} __attribute__((packed)) idt[32];
static struct {
  u16 limit;
  u32 base;
} __attribute__((packed)) idtr;
static unsigned char stack[8192] __attribute__((used, aligned(16)));
static void cpuid(u32 leaf, u32 sub) {
  u32 a, b, c, d;
  __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(sub));
  puts("cpuid ");
  hex(leaf);
  putc(' ');
  hex(sub);
  putc(' ');
  hex(a);
  putc(' ');
  hex(b);
  putc(' ');
  hex(c);
  putc(' ');
  hex(d);
  putc('\n');
}
static void range(u32 first) {
  u32 a, b, c, d;
  __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(first), "c"(0));
  for (u32 leaf = first; leaf <= a; ++leaf) {
    u32 subs = leaf == 4 || leaf == 0xb || leaf == 0xd || leaf == 0x12 || leaf == 0x14 || leaf == 7
                   ? 4
                   : 1;
    for (u32 s = 0; s < subs; ++s) cpuid(leaf, s);
  }
}
void run(void) {
  u16 cs;
  __asm__("mov %%cs,%0" : "=r"(cs));
  u32 h = (u32)on_gp;
  idt[13].lo = h;
  idt[13].hi = h >> 16;
  idt[13].sel = cs;
  idt[13].type = 0x8e;
  idtr.limit = sizeof idt - 1;
  idtr.base = (u32)idt;
  __asm__ volatile("lidt %0" ::"m"(idtr));
  outb(0x3fb, 3); /* 8 data bits */
  puts("BEGIN\n");
  range(0);
  range(0x80000000);
  static const u32 more[] = {0x3a, 0x1d9, 0x277, 0x345, 0x38f, 0x570, 0xc0000080};
  for (u32 i = 0; i < 0x14 + sizeof more / 4; ++i) {
    u32 msr = i < 0x14 ? 0x480 + i : more[i - 0x14], lo, hi;
    faulted = 0;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
    puts("msr ");
    hex(msr);
    putc(' ');
    if (faulted)
      puts("gp");
    else {
      hex(hi);
      hex(lo);
    }
    putc('\n');
  }
  puts("END\n");
}
__asm__(".globl _start\n_start: movl $stack+8192,%esp\n call run\n1: hlt\n jmp 1b\n");
