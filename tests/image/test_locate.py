"""`locate` says what `extents` says, before and after changes, and reads equal the model."""
import random
from tests.support.disks import Disk, pattern
from vhdx.storage.local import LocalFileSystem
from vhdx.extents import Presence
import pytest
MIB=1<<20
@pytest.mark.parametrize("seed",range(8))
def test_reads(tmp_path, seed):
    r=random.Random(seed); d=Disk.create(LocalFileSystem(tmp_path), 9*MIB+512, block_size=MIB)
    buf=bytearray(MIB)
    def look():
        for _ in range(120):
            n=r.choice([0,1,511,512,513,4096,65536,MIB]); o=r.randrange(0,d.size-n+1) if r.random()<.6 else r.randrange(0,(d.size-n)//512+1)*512
            assert d.open.read(o,n)==bytes(d.contents[0][o:o+n]),(o,n)
            view=memoryview(buf)[:n]; view[:]=b"\xee"*n
            d.open.readinto(o,view); assert bytes(view)==bytes(d.contents[0][o:o+n])
            if n:
                for layer in d.open.layers:
                    im=layer.image; f=im.locate(o,n)
                    s=o//512*512; e=-(-(o+n)//512)*512
                    if e>im.virtual_size: continue
                    ex=list(im.extents(s,e-s))
                    if f is None: assert len(ex)>1 or s//MIB!=(e-1)//MIB; continue
                    assert len(ex)==1
                    if isinstance(f,int): assert ex[0].presence is Presence.DATA and ex[0].file_offset+o-s==f
                    else: assert ex[0].presence is f
    for step in range(25):
        k=r.choice(["write","write","write","zero","discard","snapshot","look"])
        n=r.choice([512,4096,65536,MIB,2*MIB]); o=r.randrange(0,(d.size-n)//512+1)*512
        if k=="write": d.write(o,pattern(step+1,n))
        elif k=="zero": d.zero(o,n)
        elif k=="discard" and len(d.paths)==1: d.discard(o,n)
        elif k=="snapshot" and len(d.paths)<4: d.snapshot()
        look()
    with pytest.raises(Exception): d.open.read(d.size,1)
    with pytest.raises(Exception): d.open.read(-512,512)
    assert d.open.read(d.size,0)==b""
    d.close()
