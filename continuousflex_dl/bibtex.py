r"""
@article{Jin2014,
  title = {Iterative Elastic 3D-to-2D Alignment Method Using Normal Modes for Studying Structural Dynamics of Large
    Macromolecular Complexes},
  author = {Jin, Qiyu and Sorzano, Carlos Oscar S. and de la Rosa-Trev{\'i}n, Jos{\'e} Miguel and Bilbao-Castro,
    Jos{\'e} Rom{\'a}n and N{\'u}{\~n}ez-Ram{\'i}rez, Rafael and Llorca, Oscar and
    Tama, Florence and Joni{\'c}, Slavica},
  journal = {Structure},
  volume = {22},
  number = {3},
  pages = {496--506},
  year = {2014},
  doi = {10.1016/j.str.2014.01.004}
}

@article{Hamitouche2022,
  title = {DeepHEMNMA: ResNet-based hybrid analysis of continuous conformational heterogeneity in cryo-EM single
    particle images},
  author = {Hamitouche, Ilyes and Jonic, Slavica},
  journal = {Frontiers in Molecular Biosciences},
  volume = {9},
  pages = {965645},
  year = {2022},
  doi = {10.3389/fmolb.2022.965645}
}

@article{Harastani2020,
  title = {Hybrid Electron Microscopy Normal Mode Analysis with Scipion},
  author = {Harastani, Mohamad and Sorzano, Carlos Oscar S. and Joni{\'c}, Slavica},
  journal = {Protein Science},
  volume = {29},
  number = {1},
  pages = {223--236},
  year = {2020},
  doi = {10.1002/pro.3772}
}

@article{Harastani2022,
  title = {ContinuousFlex: Software package for analyzing continuous conformational variability of macromolecules in
    cryo electron microscopy and tomography data},
  author = {Harastani, Mohamad and Vuillemot, R{\'e}mi and Hamitouche, Ilyes and Moghadam, Nima Barati and Jonic,
    Slavica},
  journal = {Journal of Structural Biology},
  volume = {214},
  number = {4},
  pages = {107906},
  year = {2022},
  doi = {10.1016/j.jsb.2022.107906}
}

@article{Tama2001,
  title = {Conformational change of proteins arising from normal mode calculations},
  author = {Tama, Florence and Sanejouand, Yves-Henri},
  journal = {Protein Engineering},
  volume = {14},
  number = {1},
  pages = {1--6},
  year = {2001},
  doi = {10.1093/protein/14.1.1}
}

@article{Durand1994,
  title = {A new approach for determining low-frequency normal modes in macromolecules},
  author = {Durand, Philippe and Trinquier, Georges and Sanejouand, Yves-Henri},
  journal = {Biopolymers},
  volume = {34},
  number = {6},
  pages = {759--771},
  year = {1994},
  doi = {10.1002/bip.360340608}
}

@article{Tama2000,
  title = {Building-block approach for determining low-frequency normal modes of macromolecules},
  author = {Tama, Florence and Gadea, Florent Xavier and Marques, Osni and Sanejouand, Yves-Henri},
  journal = {Proteins: Structure, Function, and Bioinformatics},
  volume = {41},
  number = {1},
  pages = {1--7},
  year = {2000}
}

@article{Suhre2004,
  title = {ElN{\'e}mo: a normal mode web server for protein movement analysis and the generation of templates for
    molecular replacement},
  author = {Suhre, Karsten and Sanejouand, Yves-Henri},
  journal = {Nucleic Acids Research},
  volume = {32},
  pages = {W610--W614},
  year = {2004},
  doi = {10.1093/nar/gkh368}
}

@article{Bakan2011,
  title = {ProDy: Protein Dynamics Inferred from Theory and Experiments},
  author = {Bakan, Ahmet and Meireles, Lidio M. and Bahar, Ivet},
  journal = {Bioinformatics},
  volume = {27},
  number = {11},
  pages = {1575--1577},
  year = {2011},
  doi = {10.1093/bioinformatics/btr168}
}

@article{Jonic2016,
  title = {Coarse-Graining of Volumes for Modeling of Structure and Dynamics in Electron Microscopy: Algorithm to
    Automatically Control Accuracy of Approximation},
  author = {Joni{\'c}, Slavica and Sorzano, Carlos Oscar S.},
  journal = {IEEE Journal of Selected Topics in Signal Processing},
  volume = {10},
  number = {1},
  pages = {161--173},
  year = {2016},
  doi = {10.1109/JSTSP.2015.2489186}
}

@article{NogalesCadenas2013,
  title = {3DEM Loupe: Analysis of Macromolecular Dynamics Using Structures from Electron Microscopy},
  author = {Nogales-Cadenas, Ruben and Joni{\'c}, Slavica and Tama, Florence and Arteni, Ana-Andreea and Tabas-Madrid,
    Daniel and V{\'a}zquez, Miguel and Pascual-Montano, Alberto and Sorzano, Carlos Oscar S.},
  journal = {Nucleic Acids Research},
  volume = {41},
  pages = {W363--W367},
  year = {2013},
  doi = {10.1093/nar/gkt385}
}
"""
